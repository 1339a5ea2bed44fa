package client

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// What a program that says nothing has: a window of 60 days, and calls after 1, 3, 7, 14,
// 30 and 60 days.
const windowDays = 60

var ladderHours = []uint32{24, 72, 168, 336, 720, 1440}

// OpenEpisode makes an episode of a person that begins now and, in the same save, plans
// the calls of its program's ladder: none for who is not to be contacted. Program, lead,
// window and time of opening are filled in where m lacks them. It returns the id of the
// episode. m is the caller's again afterwards.
func (e *Edit) OpenEpisode(ctx context.Context, person *View, m *tandemv1.Episode) (syncengine.ID, error) {
	who, ok := person.Message.(*tandemv1.Person)
	if !ok {
		return syncengine.ID{}, e.fail(ErrNotFound)
	}
	s, err := e.c.Session()
	if err != nil {
		return syncengine.ID{}, e.fail(err)
	}
	if m.ProgramId == nil {
		e.c.fill(m, "program_id", idText(e.c.programOf(s, m.GetTeamId())))
	}
	days, hours, err := e.c.ladder(ctx, m.GetProgramId())
	if err != nil {
		return syncengine.ID{}, e.fail(err)
	}
	now := e.c.opts.Now()
	m.PersonId = new(person.ID.String())
	if m.WindowDays == nil {
		m.WindowDays = &days
	}
	if m.LeadStaffId == nil {
		m.LeadStaffId = new(s.Person.String())
	}
	if m.OpenedAt == nil {
		m.OpenedAt = &tandemv1.Instant{AtMs: new(now.UnixMilli()), Origin: new("tap")}
	}
	id, err := e.Create(m)
	if err != nil || who.GetDoNotContact() {
		return id, err
	}
	for _, h := range hours {
		due := m.GetOpenedAt().GetAtMs() + (time.Duration(h) * time.Hour).Milliseconds()
		if _, err := e.Create(&tandemv1.FollowUp{
			EpisodeId: new(id.String()), PersonId: m.PersonId, ProgramId: m.ProgramId, TeamId: m.TeamId, TargetHours: &h, StaffId: m.LeadStaffId,
			DueAt: &tandemv1.Instant{AtMs: &due, Origin: new("manual"), Precision: new("hour")},
		}); err != nil {
			return id, err
		}
	}
	return id, nil
}

// programOf is the program of what is new: that of its team, of the team whose work is done,
// or the first where nobody has said either.
func (c *Client) programOf(s *Session, team string) syncengine.ID {
	at := slices.IndexFunc(s.Teams, func(id syncengine.ID) bool { return id.String() == team })
	if at >= 0 && at < len(s.Programs) {
		return s.Programs[at]
	}
	if _, program := c.works(s); !program.IsZero() || len(s.Programs) == 0 {
		return program
	}
	return s.Programs[0]
}

// ladder returns the window of a program in days, and the hours after which it calls.
func (c *Client) ladder(ctx context.Context, program string) (days uint32, hours []uint32, err error) {
	id, err := syncengine.ParseID(program)
	if err != nil {
		return windowDays, ladderHours, nil //nolint:nilerr // Of no program.
	}
	view, err := c.Get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return windowDays, ladderHours, nil
	}
	if err != nil {
		return 0, nil, err
	}
	p, ok := view.Message.(*tandemv1.Program)
	if !ok {
		return windowDays, ladderHours, nil
	}
	for _, text := range p.GetFollowUpLadderHours() {
		if h, err := strconv.ParseUint(text, 10, 32); err == nil {
			hours = append(hours, uint32(h))
		}
	}
	slices.Sort(hours)
	if len(hours) == 0 {
		hours = ladderHours
	}
	return cmp.Or(p.GetWindowDays(), windowDays), hours, nil
}

package client

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Errors of emergencies.
var (
	// ErrEmergencyReason: the reason is missing or too short.
	ErrEmergencyReason = errors.New("say what the emergency is, in 10 to 500 characters: a lead reads it with your name")
	// ErrNothingHeld: this device holds nothing of the person, and the server could not be
	// asked. The emergency is noted, and reported with the next sync.
	ErrNothingHeld = errors.New("nothing of this person is held here, and the server could not be asked: try again with signal")
)

// Emergency is a person's record, opened for 60 minutes.
type Emergency struct {
	// ID of the emergency, and of the person.
	ID, Person syncengine.ID
	// UntilMS is when it is over, by the server's time as far as it is known.
	UntilMS int64
	// Records are the person's and what is about them, those that this device holds first.
	Records []*View
	// More: the server has more than it sends.
	More bool
	// Offline: the server could not be asked. It is told with the next sync.
	Offline bool
}

// BreakGlass opens one person's record in an emergency, for a clinician, a peer or a lead:
// what this device holds, also where charts are closed because there was no contact for
// long, and with signal what other teams of the agency have written. It lasts 60 minutes.
// The reason is kept at the server, and a lead reviews it. The error is
// syncengine.ErrNoEmergency where it is not for this person, ErrNothing where there is
// nothing to open.
func (c *Client) BreakGlass(ctx context.Context, person syncengine.ID, reason string) (*Emergency, error) {
	if err := c.hidden(); err != nil {
		return nil, err
	}
	reason = strings.TrimSpace(reason)
	if utf8.RuneCountInString(reason) < syncengine.MinEmergencyReason || len(reason) > syncengine.MaxReason {
		return nil, ErrEmergencyReason
	}
	held, err := c.about(ctx, person)
	if err != nil {
		return nil, err
	}
	e := &Emergency{Person: person, UntilMS: c.aged() + syncengine.EmergencyMS}
	if e.ID, err = c.newID(); err != nil {
		return nil, err
	}
	req := &tandemv1.BreakGlassRequest{
		Id: e.ID[:], Person: person[:], AtMs: c.opts.Now().UnixMilli(), Reason: reason, Read: true, Opened: uint32(len(held)),
	}
	if err := c.openEmergency(ctx, e, req); err != nil {
		return nil, err
	}
	answer, err := c.reportEmergency(ctx, req)
	_, contact := errors.AsType[*ContactError](err)
	e.Offline = contact && !refusedEmergency(err)
	if err != nil && !e.Offline {
		return nil, err
	}
	if e.Offline && len(held) == 0 {
		return nil, errors.Join(ErrNothingHeld, err)
	}
	if answer != nil {
		e.More = answer.GetMore()
		if answer.GetUntilMs() > 0 {
			e.UntilMS = answer.GetUntilMs()
		}
	}
	if e.Records, err = c.inEmergency(ctx, person, answer); err != nil {
		return nil, err
	}
	if len(e.Records) == 0 {
		return nil, ErrNothing
	}
	return e, c.noteReads(ctx, tandemv1.AuditAct_AUDIT_ACT_LISTED, e.Records...)
}

// openEmergency notes one on this device, before anything is shown.
func (c *Client) openEmergency(ctx context.Context, e *Emergency, req *tandemv1.BreakGlassRequest) error {
	return c.store.write(ctx, "noting an emergency", func(t *tx) error {
		p, err := c.rights(t)
		if err != nil {
			return err
		}
		if !c.domain.BreaksGlass(p, nil) {
			return syncengine.ErrNoEmergency
		}
		c.store.notes.add(&tandemv1.AuditEntry{
			Act: tandemv1.AuditAct_AUDIT_ACT_EMERGENCY_OPENED, AtMs: req.GetAtMs(), Subject: req.GetPerson(), Count: uint64(req.GetOpened()),
		})
		return t.exec(`INSERT INTO emergency (id, subject, at, until, reason, opened, reported) VALUES ($1, $2, $3, $4, $5, $6, 0)`,
			e.ID[:], req.GetPerson(), req.GetAtMs(), e.UntilMS, req.GetReason(), int64(req.GetOpened()))
	})
}

// reportEmergency tells the server of one, and keeps what it sends.
func (c *Client) reportEmergency(ctx context.Context, req *tandemv1.BreakGlassRequest) (*tandemv1.BreakGlassResponse, error) {
	way, me, err := c.way()
	if err != nil {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, slack+lookupTime)
	defer cancel()
	resp, err := way.breakGlass(call, req)
	refused := refusedEmergency(err) && !c.superseded(ctx, me, err)
	if err != nil && !refused {
		return nil, err
	}
	// Where the server has refused it, it has noted that, and it is over.
	kept := c.store.write(context.WithoutCancel(ctx), "noting what an emergency opens", func(t *tx) error {
		if err := t.exec(`UPDATE emergency SET reported = 1, until = $2 WHERE id = $1`, req.GetId(), resp.GetUntilMs()); err != nil {
			return err
		}
		_, err := c.device.Opened(t, resp.GetRows(), c.aged(), resp.GetUntilMs())
		return err
	})
	if kept != nil {
		return nil, kept
	}
	return resp, err
}

// refusedEmergency reports whether an error is the server's word that there is to be none.
func refusedEmergency(err error) bool {
	// Of a device that is suspended the server has not looked at it.
	return errors.Is(err, ErrRejected) || errors.Is(err, ErrRefused) && !errors.Is(err, ErrSuspended)
}

// reportEmergencies tells the server of those that it has not been told of.
func (c *Client) reportEmergencies(ctx context.Context) error {
	var waiting []*tandemv1.BreakGlassRequest
	err := c.store.read(ctx, "reading emergencies", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, `SELECT id, subject, at, reason, opened FROM emergency WHERE reported = 0 ORDER BY at`)
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			req := &tandemv1.BreakGlassRequest{}
			err := scan(&req.Id, &req.Person, &req.AtMs, &req.Reason, &req.Opened)
			waiting = append(waiting, req)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, req := range waiting {
		if _, err := c.reportEmergency(ctx, req); err != nil && !refusedEmergency(err) {
			return err
		}
	}
	return nil
}

// inEmergency returns what is open of a person: what is held, and what was sent.
func (c *Client) inEmergency(ctx context.Context, person syncengine.ID, answer *tandemv1.BreakGlassResponse) ([]*View, error) {
	views, err := c.about(ctx, person)
	if err != nil || len(answer.GetRows()) == 0 {
		return views, err
	}
	finds, err := c.finds(ctx, selectFinds, false)
	if err != nil {
		return nil, err
	}
	for _, v := range finds {
		sent := slices.ContainsFunc(answer.GetRows(), func(row *tandemv1.Row) bool { return bytes.Equal(row.GetRecord(), v.ID[:]) })
		if sent && !slices.ContainsFunc(views, func(held *View) bool { return held.ID == v.ID }) {
			views = append(views, v)
		}
	}
	return views, nil
}

// about returns the records that this device holds of a person: theirs, what is about it,
// and what is about that, the person's first.
func (c *Client) about(ctx context.Context, person syncengine.ID) (views []*View, err error) {
	all, err := c.shown(ctx, visible+` ORDER BY at DESC, id DESC`)
	if err != nil {
		return nil, err
	}
	// A note is about a visit, which is about the person.
	of := map[syncengine.ID]bool{person: true}
	for range 2 {
		for _, v := range all {
			if slices.ContainsFunc(c.domain.About(v.rec), func(id syncengine.ID) bool { return of[id] }) {
				of[v.ID] = true
			}
		}
	}
	for _, first := range []bool{true, false} {
		for _, v := range all {
			if of[v.ID] && (v.ID == person) == first {
				views = append(views, v)
			}
		}
	}
	if len(views) == 0 || views[0].ID != person || views[0].Kind == nil || views[0].Kind.Name != "person" {
		// It is no person's id, or theirs is not held.
		return nil, nil
	}
	return views, nil
}

// opened returns nil where an emergency lasts in which a record was opened, ErrLease else.
// It is asked where charts are closed.
func (c *Client) opened(ctx context.Context, id syncengine.ID) error {
	var people []syncengine.ID
	err := c.store.read(ctx, "reading emergencies", func(rtx *sql.Tx) error {
		rows, err := rtx.QueryContext(ctx, `SELECT subject FROM emergency WHERE until > $1`, c.aged())
		if err != nil {
			return err
		}
		return eachRow(rows, func(scan func(...any) error) error {
			var person syncengine.ID
			err := scan((*idColumn)(&person))
			people = append(people, person)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, person := range people {
		views, err := c.about(ctx, person)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(views, func(v *View) bool { return v.ID == id }) {
			return nil
		}
	}
	return ErrLease
}

// metaEmergencies holds how many emergencies of others wait for this person's review, 4
// bytes big endian; absent for none.
const metaEmergencies = "emergencies"

// noteEmergencies keeps what the server says of that.
func (t *tx) noteEmergencies(trailer *tandemv1.Trailer) error {
	kept, err := t.meta(metaEmergencies)
	if err != nil {
		return err
	}
	said := binary.BigEndian.AppendUint32(nil, trailer.GetEmergencies())
	if bytes.Equal(kept, said) || kept == nil && trailer.GetEmergencies() == 0 {
		return nil
	}
	return t.setMeta(metaEmergencies, said)
}

// endEmergencies lets go of those that are over and reported.
func (t *tx) endEmergencies(nowMS int64) error {
	return t.exec(`DELETE FROM emergency WHERE reported = 1 AND until <= $1`, nowMS)
}

// breakGlass opens or reports an emergency at the server.
func (l *link) breakGlass(ctx context.Context, req *tandemv1.BreakGlassRequest) (*tandemv1.BreakGlassResponse, error) {
	return call(ctx, &contact{brings: true}, func(ctx context.Context) (*tandemv1.BreakGlassResponse, error) { return l.sync.BreakGlass(ctx, req) })
}

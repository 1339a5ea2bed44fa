package console

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image/png"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/people"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/audit"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

// reference returns the records of a kind of reference data, by name. Who works in the org
// sees all of them.
func (s *sight) reference(kind string) (items []*item) {
	if !s.walked {
		s.refs, s.walked = s.allReference(), true
	}
	for _, it := range s.refs {
		if it.kind.Name == kind {
			items = append(items, it)
		}
	}
	slices.SortFunc(items, func(a, b *item) int { return cmp.Or(cmp.Compare(s.title(a), s.title(b)), a.rec.ID.Compare(b.rec.ID)) })
	return slices.CompactFunc(items, func(a, b *item) bool { return a.rec.ID == b.rec.ID })
}

func (s *sight) allReference() (items []*item) {
	for _, k := range s.c.domain.Grants(s.view.Org(), s.p) {
		if k.Compartment != tandemv1.Compartment_COMPARTMENT_REF || !s.held[k] {
			continue
		}
		seq, last := uint64(0), syncengine.ID{}
		const some = 512
		for {
			members, err := s.view.Members(k, seq, last, some)
			if err != nil {
				s.err = err
				return nil
			}
			var ids []syncengine.ID
			for _, m := range members {
				if m.Live {
					ids = append(ids, m.Record)
				}
				seq, last = m.Seq, m.Record
			}
			s.load(ids...)
			for _, id := range ids {
				if it := s.see(id); it != nil {
					items = append(items, it)
				}
			}
			if len(members) < some {
				break
			}
		}
	}
	return items
}

// colleague reports whether a member of staff is of the person's own agency.
func (s *sight) colleague(it *item) bool {
	m, ok := it.msg.(*tandemv1.Staff)
	return ok && m.GetAgencyId() == s.p.Agency.String()
}

// colleagues are those of the person's own agency, whose acts and devices are its own
// affair.
func (s *sight) colleagues() map[syncengine.ID]bool {
	mine := map[syncengine.ID]bool{}
	for _, it := range s.reference("staff") {
		if s.colleague(it) {
			mine[it.rec.ID] = true
		}
	}
	return mine
}

type setupData struct {
	Page     *web.Page
	Agencies []setupAgency
	Models   []web.Option
	// Own: programs of the person's own agency, for new teams.
	Own []web.Option
}

type setupAgency struct {
	Name, Type string
	Mine       bool
	Programs   []setupProgram
}

type setupProgram struct {
	Name, Model string
	Days        string
	Teams       []setupTeam
}

type setupTeam struct {
	Name, Shift string
	Staff       int
}

// setup shows agencies, programs and teams.
func (v *visit) setup() error {
	d := &setupData{Page: v.page("navSetup", "setup")}
	err := v.look("setup", syncengine.ID{}, func(s *sight) error {
		staff, teams, programs := s.reference("staff"), s.reference("team"), s.reference("program")
		for _, a := range s.reference("agency") {
			m, _ := a.msg.(*tandemv1.Agency)
			one := setupAgency{Name: m.GetName(), Type: s.code(s.c.domain.FieldCodes("agency", "type"), m.GetType()), Mine: a.rec.ID == s.p.Agency}
			for _, p := range programs {
				pm, _ := p.msg.(*tandemv1.Program)
				if pm.GetAgencyId() != a.rec.ID.String() || p.rec.Lifecycle() == record.Void {
					continue
				}
				prog := setupProgram{Name: s.title(p), Model: s.code(s.c.domain.FieldCodes("program", "model"), pm.GetModel()), Days: strconv.Itoa(int(cmp.Or(pm.GetWindowDays(), 60)))}
				for _, t := range teams {
					tm, _ := t.msg.(*tandemv1.Team)
					if tm.GetProgramId() != p.rec.ID.String() || t.rec.Lifecycle() == record.Void {
						continue
					}
					n := 0
					for _, who := range staff {
						if sm, ok := who.msg.(*tandemv1.Staff); ok && who.rec.Lifecycle() == record.Active && slices.Contains(sm.GetTeamIds(), t.rec.ID.String()) {
							n++
						}
					}
					prog.Teams = append(prog.Teams, setupTeam{Name: tm.GetName(), Shift: tm.GetShift(), Staff: n})
				}
				one.Programs = append(one.Programs, prog)
				if one.Mine {
					d.Own = append(d.Own, web.Option{Code: p.rec.ID.String(), Label: prog.Name})
				}
			}
			d.Agencies = append(d.Agencies, one)
		}
		d.Models = s.options(s.c.domain.FieldCodes("program", "model"))
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "setup", d)
}

// options are the codes of a list as choices.
func (s *sight) options(list string, on ...string) (out []web.Option) {
	for _, c := range s.c.domain.Codes(list) {
		if !c.Retired && c.Code != record.NotRecorded {
			out = append(out, web.Option{Code: c.Code, Label: s.code(list, c.Code), On: slices.Contains(on, c.Code)})
		}
	}
	return out
}

// write makes a change of reference data, and goes on to a page.
func (v *visit) write(to string, build func(*server.Composer) error) error {
	if _, err := v.office().Change(v.ctx(), v.who.Staff, build); err != nil {
		return err
	}
	return v.to(to)
}

// words returns a text that stays away where it is empty.
func words1(text string) *string {
	if text = record.CleanText(strings.TrimSpace(text)); text == "" {
		return nil
	}
	return &text
}

func (v *visit) addProgram() error {
	return v.write("setup?done=okSaved", func(c *server.Composer) error {
		id, err := c.NewID()
		if err != nil {
			return err
		}
		return c.CreateAs(id, &tandemv1.Program{
			AgencyId: new(c.Principal.Agency.String()), ProgramId: new(id.String()), Lifecycle: new(record.Active), Schema: new(uint32(syncengine.Schema)),
			Name: &tandemv1.LocalizedText{En: words1(v.form("en")), Es: words1(v.form("es"))}, Model: words1(v.form("model")),
		})
	})
}

func (v *visit) addTeam() error {
	program, err := syncengine.ParseID(v.form("program"))
	if err != nil {
		return errForm
	}
	return v.write("setup?done=okSaved", func(c *server.Composer) error {
		rec, msg, err := c.Record(program)
		if err != nil {
			return err
		}
		if _, ok := msg.(*tandemv1.Program); !ok {
			return errForm
		}
		id, err := c.NewID()
		if err != nil {
			return err
		}
		return c.CreateAs(id, &tandemv1.Team{
			AgencyId: words1(rec.Text(syncengine.FieldAgency)), ProgramId: new(program.String()), TeamId: new(id.String()), Lifecycle: new(record.Active),
			Schema: new(uint32(syncengine.Schema)), Name: words1(v.form("name")), Shift: words1(v.form("shift")),
		})
	})
}

type staffData struct {
	Page *web.Page
	Rows []row
	Form staffForm
}

// staffForm is what is asked of a member of staff.
type staffForm struct {
	Action, Name, Trained, Hash string
	Disciplines                 []web.Option
	Roles, Teams                []web.Option
	// Own: the person's own record, whose roles and teams another admin sets.
	Own bool
}

// staff lists who works here.
func (v *visit) staff() error {
	d := &staffData{Page: v.page("navStaff", "staff")}
	err := v.look("staff", syncengine.ID{}, func(s *sight) error {
		for _, it := range s.reference("staff") {
			m, _ := it.msg.(*tandemv1.Staff)
			r := row{Href: "staff/" + it.rec.ID.String(), Title: m.GetDisplayName(), Sub: s.rolesOf(m)}
			if it.rec.Lifecycle() != record.Active {
				r.Badges = append(r.Badges, badge{Word: s.code(s.c.domain.FieldCodes("staff", "lifecycle"), it.rec.Lifecycle())})
			}
			if m.GetCitTrainedOn() != "" {
				r.Badges = append(r.Badges, badge{Word: "CIT " + m.GetCitTrainedOn()})
			}
			d.Rows = append(d.Rows, r)
		}
		d.Form = s.staffForm(nil)
		d.Form.Action = "staff"
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "staff", d)
}

func (s *sight) rolesOf(m *tandemv1.Staff) string {
	var parts []string
	for _, r := range m.GetRoles() {
		parts = append(parts, s.code(s.c.domain.FieldCodes("staff", "roles"), r))
	}
	var teams []string
	for _, t := range m.GetTeamIds() {
		teams = append(teams, s.nameOf("team", t))
	}
	return join(strings.Join(parts, ", "), strings.Join(teams, ", "))
}

func (s *sight) staffForm(it *item) staffForm {
	m := &tandemv1.Staff{}
	f := staffForm{}
	if it != nil {
		m, _ = it.msg.(*tandemv1.Staff)
		f.Hash = strconv.FormatUint(uint64(it.rec.Hash), 16)
		f.Own = it.rec.ID == s.p.Person
	}
	f.Name, f.Trained = m.GetDisplayName(), m.GetCitTrainedOn()
	f.Disciplines = s.options(s.c.domain.FieldCodes("staff", "discipline"), m.GetDiscipline())
	f.Roles = s.options(s.c.domain.FieldCodes("staff", "roles"), m.GetRoles()...)
	for _, t := range s.reference("team") {
		if t.rec.Lifecycle() == record.Active {
			f.Teams = append(f.Teams, web.Option{Code: t.rec.ID.String(), Label: s.title(t), On: slices.Contains(m.GetTeamIds(), t.rec.ID.String())})
		}
	}
	return f
}

// fill puts what the form says into a staff record.
func (v *visit) fill(m *tandemv1.Staff, own bool) error {
	m.DisplayName, m.Discipline, m.CitTrainedOn = words1(v.form("name")), words1(v.form("discipline")), words1(v.form("trained"))
	if own {
		return nil
	}
	roles := slices.DeleteFunc(slices.Clone(v.r.PostForm["roles"]), func(r string) bool { return r == "" })
	if len(roles) == 0 {
		return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"roles"}, EN: "A person needs a role: give at least one.", ES: "Una persona necesita una función: dé al menos una."}}}
	}
	if err := record.CheckRoles(roles); err != nil {
		return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"roles"}, EN: "A police partner holds no other role.", ES: "Un socio policial no tiene otra función."}}}
	}
	teams := slices.DeleteFunc(slices.Clone(v.r.PostForm["teams"]), func(r string) bool { return r == "" })
	if more := slices.ContainsFunc(teams, func(t string) bool { return !slices.Contains(m.GetTeamIds(), t) }); more && len(teams) > record.MaxTeams {
		return &server.InvalidError{Problems: []record.Problem{{
			Fields: []string{"team_ids"}, EN: fmt.Sprintf("A person is in %d teams at most: take them out of another one first.", record.MaxTeams),
			ES: fmt.Sprintf("Una persona está en %d equipos como máximo: sáquela antes de otro.", record.MaxTeams),
		}}}
	}
	m.Roles, m.TeamIds = roles, teams
	return nil
}

func (v *visit) addStaff() error {
	return v.write("staff?done=okSaved", func(c *server.Composer) error {
		m := &tandemv1.Staff{AgencyId: new(c.Principal.Agency.String()), Lifecycle: new(record.Active), Schema: new(uint32(syncengine.Schema))}
		if err := v.fill(m, false); err != nil {
			return err
		}
		_, err := c.Create(m)
		return err
	})
}

func (v *visit) setStaff() error {
	return v.write("staff/"+v.r.PathValue("id")+"?done=okSaved", func(c *server.Composer) error {
		rec, msg, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.Staff)
		if !ok {
			return errAbsent
		}
		own := rec.ID == v.who.Staff
		if err := v.fill(m, own); err != nil {
			return err
		}
		return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
	})
}

type personData struct {
	Page    *web.Page
	ID      string
	Name    string
	Form    staffForm
	Retired bool
	// Mine: of the admin's own agency, and not the admin: only there codes are given.
	Mine     bool
	Login    string
	Disabled bool
	Sessions int
	// Code is a one-time code, shown once; For says what for.
	Code, For, CodeLogin string
	// Picture is the QR code of a device's code.
	Picture template.URL
	Until   time.Time
	// Out is what is said before the person is shut out, nil for nothing yet.
	Out *outData
	Why string
}

// staffPage shows a member of staff.
func (v *visit) staffPage() error {
	if v.r.URL.Query().Get("act") == actShutOut {
		return v.shutOutPage(http.StatusOK, "")
	}
	return v.personPage(http.StatusOK, nil)
}

func (v *visit) personPage(status int, with func(*personData)) error {
	id, err := v.id()
	if err != nil {
		return err
	}
	d := &personData{Page: v.page("navStaff", "staff/"+id.String()), ID: id.String()}
	err = v.look("staff", id, func(s *sight) error {
		it := s.see(id)
		if it == nil || it.kind.Name != "staff" {
			return errAbsent
		}
		m, _ := it.msg.(*tandemv1.Staff)
		d.Name, d.Form, d.Retired = m.GetDisplayName(), s.staffForm(it), it.rec.Lifecycle() != record.Active
		d.Form.Action = "staff/" + d.ID
		d.Page.Title = d.Name
		d.Mine = m.GetAgencyId() == s.p.Agency.String() && id != s.p.Person
		account, err := s.view.Account(id)
		if err != nil {
			return err
		}
		if account != nil {
			d.Login, d.Disabled = account.Login, account.Disabled
		}
		sessions, err := s.view.Sessions(id)
		d.Sessions = len(sessions)
		return err
	})
	if err != nil {
		return err
	}
	if with != nil {
		with(d)
	}
	return v.show(status, "person", d)
}

// ofMine refuses codes for whoever is of another agency, and for oneself.
func (v *visit) ofMine() (id syncengine.ID, err error) {
	if id, err = v.id(); err != nil {
		return id, err
	}
	err = v.look("staff", id, func(s *sight) error {
		it := s.see(id)
		if it == nil || it.kind.Name != "staff" {
			return errAbsent
		}
		if m, _ := it.msg.(*tandemv1.Staff); m.GetAgencyId() != s.p.Agency.String() || id == s.p.Person {
			return &server.RefusedError{Code: tandemv1.Refusal_REFUSAL_FORBIDDEN}
		}
		return nil
	})
	return id, err
}

// enrolCode gives a code by which one device can enrol for a person.
func (v *visit) enrolCode() error {
	id, err := v.ofMine()
	if err != nil {
		return err
	}
	if v.form("label") == "" {
		return errForm
	}
	code, err := v.office().IssueCode(v.ctx(), id, v.form("label"))
	if err != nil {
		return err
	}
	picture, err := web.QR(code.Invitation(v.c.srv.Address(v.r)), 6)
	if err != nil {
		return err
	}
	var drawn bytes.Buffer
	if err := png.Encode(&drawn, picture); err != nil {
		return err
	}
	// The log of the code itself names whom it is for.
	if err := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_CHANGED, Subject: id[:], Code: "device code", Count: 1}); err != nil {
		return err
	}
	return v.personPage(http.StatusOK, func(d *personData) {
		d.Code, d.For, d.Until = code.Code, v.t("codeDevice"), code.Expires.UTC()
		d.Picture = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(drawn.Bytes())) //nolint:gosec // A picture that was made here.
	})
}

// accountCode makes the account of a person, or takes its passphrase away, and gives a
// one-time code to set one. The second factor stays: that is for the operator to remove.
func (v *visit) accountCode() error {
	id, err := v.ofMine()
	if err != nil {
		return err
	}
	accounts := people.NewAccounts(v.c.store, v.who.Org, v.c.o.Clock, v.c.o.Rand)
	var code *people.Code
	if login := v.form("login"); login != "" {
		code, err = accounts.Create(v.ctx(), id, login)
	} else {
		code, err = accounts.Reset(v.ctx(), id, false)
	}
	if errors.Is(err, people.ErrLogin) || errors.Is(err, people.ErrLoginTaken) || errors.Is(err, people.ErrAccountThere) {
		return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"login"}, EN: "The login is taken, or not of 3 to 64 letters, digits, dots and dashes.", ES: "El usuario ya existe, o no tiene de 3 a 64 letras, cifras, puntos y guiones."}}}
	}
	if err != nil {
		return err
	}
	if err := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_CHANGED, Subject: id[:], Code: "account code", Count: 1}); err != nil {
		return err
	}
	return v.personPage(http.StatusOK, func(d *personData) {
		d.Code, d.For, d.CodeLogin, d.Until = code.Code, v.t("codeAccount"), code.Login, code.Expires.UTC()
	})
}

// endSessions signs a person out everywhere.
func (v *visit) endSessions() error {
	id, err := v.ofMine()
	if err != nil {
		return err
	}
	if _, err := people.NewAccounts(v.c.store, v.who.Org, v.c.o.Clock, v.c.o.Rand).EndSessions(v.ctx(), id); err != nil {
		return err
	}
	if err := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_CHANGED, Subject: id[:], Code: "sessions ended", Count: 1}); err != nil {
		return err
	}
	return v.to("staff/" + id.String() + "?done=okSaved")
}

type auditData struct {
	Page                 *web.Page
	Person, Subject, Act string
	// From and To are days, both included.
	From, To string
	People   []web.Option
	Acts     []web.Option
	Lines    []auditLine
	Looked   int
	More     string
}

type auditLine struct {
	N                              int64
	When, Act, Who, Subject, About string
	Device                         bool
}

// Bounds of a search of the audit log: so many entries are looked at, so many shown.
const (
	auditLooked = 20_000
	auditShown  = 200
)

// auditPage searches the audit log, the newest entries first.
func (v *visit) auditPage() error {
	q := v.r.URL.Query()
	d := &auditData{Page: v.page("navAudit", "audit"), Person: q.Get("person"), Subject: strings.TrimSpace(q.Get("subject")), Act: q.Get("act"), From: q.Get("from"), To: q.Get("to")}
	for _, day := range []string{d.From, d.To} {
		if _, err := time.Parse(time.DateOnly, day); err != nil && day != "" {
			return errForm
		}
	}
	if err := v.note(&tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_AUDIT_READ, Code: "console"}); err != nil {
		return err
	}
	err := v.look("audit", syncengine.ID{}, func(s *sight) error {
		for _, it := range s.reference("staff") {
			if s.colleague(it) {
				d.People = append(d.People, web.Option{Code: it.rec.ID.String(), Label: s.title(it), On: it.rec.ID.String() == d.Person})
			}
		}
		for n, name := range tandemv1.AuditAct_name {
			if name = strings.TrimPrefix(name, "AUDIT_ACT_"); n != 0 {
				d.Acts = append(d.Acts, web.Option{Code: name, Label: strings.ToLower(strings.ReplaceAll(name, "_", " ")), On: name == d.Act})
			}
		}
		slices.SortFunc(d.Acts, func(a, b web.Option) int { return cmp.Compare(a.Label, b.Label) })
		return s.audit(d, q.Get("before"))
	})
	if err != nil {
		return err
	}
	return v.show(200, "audit", d)
}

func (s *sight) audit(d *auditData, before string) error {
	end, err := s.view.AuditSize()
	if err != nil {
		return err
	}
	if n, err := strconv.ParseInt(before, 10, 64); err == nil && n >= 0 {
		end = min(end, n)
	}
	var since int64
	if d.From != "" {
		since, err = s.auditAt(0, end, d.From, 0)
	}
	if err == nil && d.To != "" {
		end, err = s.auditAt(0, end, d.To, 1)
	}
	if err != nil {
		return err
	}
	mine := s.colleagues()
	const some = 2000
	for from := end; from > since && d.Looked < auditLooked && len(d.Lines) < auditShown; {
		start := max(from-some, since)
		var lines []auditLine
		err := s.view.EachAudit(start, int(from-start), func(n int64, raw []byte) error {
			l, err := audit.NewLine(n, raw)
			if err != nil {
				return err
			}
			if line := s.auditLine(d, l, mine); line != nil {
				lines = append(lines, *line)
			}
			return nil
		})
		if err != nil {
			return err
		}
		slices.Reverse(lines)
		d.Lines = append(d.Lines, lines...)
		d.Looked += int(from - start)
		from = start
		if from > since {
			d.More = strconv.FormatInt(from, 10)
		} else {
			d.More = ""
		}
	}
	for i := range d.Lines {
		if id, err := syncengine.ParseID(d.Lines[i].Who); err == nil {
			d.Lines[i].Who = s.staffName(id)
		}
		// Of a record an admin is told its id, and of reference data its name.
		if it := s.seeText(d.Lines[i].Subject); it != nil && it.rec.Compartment(it.kind) == tandemv1.Compartment_COMPARTMENT_REF {
			d.Lines[i].About = s.title(it)
		}
	}
	return nil
}

// auditAt is the number of the first entry, between two, that was made at the beginning of
// a day or some days after it. Entries stand in the order of the server's clock.
func (s *sight) auditAt(from, to int64, day string, after int) (int64, error) {
	at, err := time.ParseInLocation(time.DateOnly, day, s.zone)
	if err != nil {
		return 0, errForm
	}
	at = at.AddDate(0, 0, after)
	n := sort.Search(int(to-from), func(i int) bool {
		late := false
		err = errors.Join(err, s.view.EachAudit(from+int64(i), 1, func(n int64, raw []byte) error {
			l, err := audit.NewLine(n, raw)
			late = err == nil && l.At >= at.UnixMilli()
			return err
		}))
		return late
	})
	return from + int64(n), err
}

// auditLine is an entry that is asked for, nil for another.
func (s *sight) auditLine(d *auditData, l *audit.Line, mine map[syncengine.ID]bool) *auditLine {
	out := &auditLine{N: l.N}
	if l.Device != nil {
		out.Device, l = true, l.Device
	}
	if person, err := syncengine.ParseID(l.Person); l.Person != "" && (err != nil || !mine[person]) {
		return nil
	}
	if d.Person != "" && l.Person != d.Person || d.Act != "" && l.Act != d.Act ||
		d.Subject != "" && l.Subject != d.Subject && !slices.Contains(l.Records, d.Subject) {
		return nil
	}
	out.When, out.Who, out.Subject = s.at(l.At).Format("2006-01-02 15:04:05"), l.Person, l.Subject
	out.Act = strings.ToLower(strings.ReplaceAll(l.Act, "_", " "))
	if l.Code != "" {
		out.Act += " (" + l.Code + ")"
	}
	if l.Count > 1 {
		out.Act += sprintf(" ×%d", l.Count)
	}
	return out
}

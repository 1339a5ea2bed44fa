package console

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// form is a value of the form that was sent, without blanks around it.
func (v *visit) form(name string) string {
	return strings.TrimSpace(strings.ReplaceAll(v.r.PostForm.Get(name), "\r\n", "\n"))
}

// shownRecord is the record of a form inside a change, as it stood on the screen: it has
// moved where its row hash is another one.
func (v *visit) shownRecord(c *server.Composer) (*syncengine.StoredRecord, proto.Message, error) {
	id, err := v.id()
	if err != nil {
		return nil, nil, err
	}
	rec, msg, err := c.Record(id)
	if err != nil {
		return nil, nil, err
	}
	kind := v.c.domain.Kind(rec.Kind)
	if kind == nil || rec.Compartment(kind) == tandemv1.Compartment_COMPARTMENT_PRIVATE {
		return nil, nil, errAbsent
	}
	if strconv.FormatUint(uint64(rec.Hash), 16) != v.form("hash") {
		return nil, nil, server.ErrMoved
	}
	return rec, msg, nil
}

// change makes a change of the person's, and goes back to the record.
func (v *visit) change(done string, build func(*server.Composer) error) error {
	if _, err := v.office().Change(v.ctx(), v.who.Staff, build); err != nil {
		return err
	}
	return v.to("record/" + v.r.PathValue("id") + "?done=" + done)
}

// review adds a lead's decision on what stood on the screen.
func (v *visit) review() error {
	decision, comment := v.form("decision"), v.form("comment")
	if !slices.Contains([]string{"approved", "returned", "flagged", "noted"}, decision) {
		return errForm
	}
	if comment == "" && (decision == "returned" || decision == "flagged") {
		return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"comment"}, EN: "Say in the comment what is to be done.", ES: "Diga en el comentario qué hay que hacer."}}}
	}
	hash, err := base64.RawURLEncoding.DecodeString(v.form("state"))
	if err != nil || len(hash) != 32 {
		return errForm
	}
	return v.change("okReview", func(c *server.Composer) error {
		rec, _, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		kind := v.c.domain.Kind(rec.Kind)
		state, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		if seen := syncengine.HashSeen(state.Seen()); string(seen[:]) != string(hash) {
			return server.ErrMoved
		}
		if !slices.Contains(reviewable, kind.Name) || state.Rev == 0 && kind.Name != "incident" {
			return errForm
		}
		agency, program, team, err := v.teamOf(c, rec)
		if err != nil {
			return err
		}
		m := &tandemv1.Review{
			AgencyId: agency, ProgramId: program, TeamId: team, Lifecycle: new(record.Recorded), Schema: new(uint32(syncengine.Schema)),
			Target: &tandemv1.RecordRef{Kind: &kind.Name, Id: new(rec.ID.String())}, Rev: &state.Rev, StateHash: hash, Decision: &decision,
			By: new(v.who.Staff.String()), At: &tandemv1.Instant{AtMs: new(c.NowMS()), Origin: new("tap")},
		}
		if comment != "" {
			m.Comment = new(record.CleanText(comment))
		}
		_, err = c.Create(m)
		return err
	})
}

// teamOf is the agency, program and team that a record is of, or that of the person which
// holds it.
func (*visit) teamOf(c *server.Composer, rec *syncengine.StoredRecord) (agency, program, team *string, err error) {
	id, err := syncengine.ParseID(rec.Text(syncengine.FieldTeam))
	if err != nil || !slices.Contains(c.Principal.Teams, id) {
		for _, k := range rec.Scopes {
			if k.Owner == syncengine.OwnerTeam && slices.Contains(c.Principal.Teams, k.OwnerID) {
				id = k.OwnerID
			}
		}
	}
	of, err := c.Tx.Record(id)
	if err != nil {
		return nil, nil, nil, err
	}
	if of == nil {
		return nil, nil, nil, errAbsent
	}
	text := func(field uint32) *string {
		if t := of.Text(field); t != "" {
			return &t
		}
		return nil
	}
	return text(syncengine.FieldAgency), text(syncengine.FieldProgram), new(id.String()), nil
}

// settle settles a conflict: with one of the values that stand there, or with another.
func (v *visit) settle() error {
	number, err := strconv.ParseUint(v.form("number"), 10, 32)
	if err != nil {
		return errForm
	}
	key, err := hex.DecodeString(v.form("key"))
	if err != nil {
		return errForm
	}
	path, reason := syncengine.Path{Field: uint32(number), Key: string(key)}, v.form("reason")
	return v.change("okSettled", func(c *server.Composer) error {
		rec, _, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		kind := v.c.domain.Kind(rec.Kind)
		state, err := syncengine.Decode(&rec.Record)
		if err != nil {
			return err
		}
		heads, displayed := state.Heads(path)
		if len(heads) == 0 {
			return server.ErrMoved
		}
		raw, err := v.chosen(kind, path, heads)
		if err != nil {
			return err
		}
		if !kind.Sealed[rec.Lifecycle()] || displayed && string(raw) == string(heads[0].Raw) {
			return c.Resolve(rec, path, raw, reason)
		}
		// What is signed changes by an amendment alone.
		if reason == "" {
			reason = v.t("amendReason")
		}
		return v.amend(c, rec, kind, path, raw, reason)
	})
}

// chosen is the raw value that a form has chosen: a head by its stamp, or the one that
// somebody wrote.
func (v *visit) chosen(kind *syncengine.Kind, path syncengine.Path, heads []syncengine.Head) ([]byte, error) {
	if text := v.form("stamp"); text != "" && text != "write" {
		stamp, err := strconv.ParseUint(text, 16, 64)
		if err != nil {
			return nil, errForm
		}
		i := slices.IndexFunc(heads, func(h syncengine.Head) bool { return uint64(h.Stamp) == stamp })
		if i < 0 {
			return nil, server.ErrMoved
		}
		return heads[i].Raw, nil
	}
	if path.Key != "" {
		return nil, errForm
	}
	msg := v.c.domain.NewMessage(kind.Number)
	fd := msg.ProtoReflect().Descriptor().Fields().ByNumber(protoreflect.FieldNumber(path.Field))
	if fd == nil || fd.Kind() != protoreflect.StringKind || fd.IsList() {
		return nil, errForm
	}
	text := record.CleanText(v.form("value"))
	if text == "" {
		return nil, errForm
	}
	if list := v.c.domain.FieldCodes(kind.Name, string(fd.Name())); list != "" && !v.c.domain.HasCode(list, text) {
		return nil, errForm
	}
	return syncengine.StringField(path.Field, text), nil
}

// amend writes a value into a signed record, and settles what stood there.
func (v *visit) amend(c *server.Composer, rec *syncengine.StoredRecord, kind *syncengine.Kind, path syncengine.Path, raw []byte, reason string) error {
	fields, err := syncengine.ParseBody(rec.Body)
	if err != nil {
		return err
	}
	var body []byte
	put := raw == nil
	for _, f := range fields {
		if !put && f.Path.Compare(path) >= 0 {
			body, put = append(body, raw...), true
		}
		if f.Path != path {
			body = append(body, f.Raw...)
		}
	}
	if !put {
		body = append(body, raw...)
	}
	msg, err := v.c.domain.Message(&syncengine.Record{Kind: kind.Number, Body: body})
	if err != nil {
		return err
	}
	life := record.Amended
	if rec.Lifecycle() == record.Locked {
		life = record.Locked
	}
	setText(msg, "lifecycle", life)
	setText(msg, "amend_reason", reason)
	return c.WriteOver(rec, tandemv1.Act_ACT_AMEND, msg, reason, path)
}

// setText sets a text field where the message has it.
func setText(msg proto.Message, name, text string) {
	m := msg.ProtoReflect()
	if fd := m.Descriptor().Fields().ByName(protoreflect.Name(name)); fd != nil && fd.Kind() == protoreflect.StringKind {
		m.Set(fd, protoreflect.ValueOfString(text))
	}
}

// isText reports whether a field is a text that somebody writes.
func isText(domain *record.Domain, kind *syncengine.Kind, name string) bool {
	msg := domain.NewMessage(kind.Number)
	fd := msg.ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
	return fd != nil && fd.Kind() == protoreflect.StringKind && !fd.IsList() && domain.FieldRules(kind.Name, name).GetRef() == ""
}

// approve puts an alert in force, as it stood on the screen.
func (v *visit) approve() error {
	return v.change("okApproved", func(c *server.Composer) error {
		rec, msg, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.SafetyAlert)
		if !ok || rec.Lifecycle() != record.Proposed {
			return errForm
		}
		m.Lifecycle, m.ApprovedBy = new(record.Active), new(v.who.Staff.String())
		m.ApprovedAt = &tandemv1.Instant{AtMs: new(c.NowMS()), Origin: new("tap")}
		return c.Write(rec, tandemv1.Act_ACT_APPROVE, m, "")
	})
}

// extend gives an episode more time, with a reason.
func (v *visit) extend() error {
	until, reason := v.form("until"), record.CleanText(v.form("reason"))
	day, err := time.Parse(time.DateOnly, until)
	if err != nil || reason == "" {
		return errForm
	}
	return v.change("okExtended", func(c *server.Composer) error {
		rec, msg, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.Episode)
		if !ok {
			return errForm
		}
		if opened := time.UnixMilli(openedMS(m, c.NowMS())); day.Before(opened) || day.After(opened.AddDate(0, 0, 365)) {
			return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"extended_to"}, EN: "The new end lies within a year of the opening.", ES: "El nuevo fin está dentro de un año desde la apertura."}}}
		}
		m.ExtendedTo, m.ExtensionReason, m.ExtendedBy = &until, &reason, new(v.who.Staff.String())
		return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
	})
}

// reopen takes up an episode that was closed, with a reason, while its window lasts.
func (v *visit) reopen() error {
	reason := record.CleanText(v.form("reason"))
	if reason == "" {
		return errForm
	}
	return v.change("okReopened", func(c *server.Composer) error {
		rec, msg, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.Episode)
		if !ok || rec.Lifecycle() != record.Closed {
			return errForm
		}
		if endsMS(m, c.NowMS()) < c.NowMS() {
			return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"lifecycle"}, EN: "Its window is over: open a new episode.", ES: "Su ventana terminó: abra un episodio nuevo."}}}
		}
		m.Lifecycle, m.ClosedAt, m.CloseReason, m.NeedsAtClose = new(record.Active), nil, nil, nil
		return c.Write(rec, tandemv1.Act_ACT_RESOLVE, m, reason)
	})
}

// assign gives a planned follow-up to somebody of the team.
func (v *visit) assign() error {
	staff, err := syncengine.ParseID(v.form("staff"))
	if err != nil {
		return errForm
	}
	return v.change("okAssigned", func(c *server.Composer) error {
		rec, msg, err := v.shownRecord(c)
		if err != nil {
			return err
		}
		m, ok := msg.(*tandemv1.FollowUp)
		if !ok || rec.Lifecycle() != record.Planned {
			return errForm
		}
		who, to, err := c.Record(staff)
		if err != nil {
			return err
		}
		if s, ok := to.(*tandemv1.Staff); !ok || !mayCall(who, s, rec.Text(syncengine.FieldTeam)) {
			return errForm
		}
		m.StaffId = new(staff.String())
		return c.Write(rec, tandemv1.Act_ACT_SET, m, "")
	})
}

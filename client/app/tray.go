package app

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

type trayData struct {
	Page      *web.Page
	Clashes   []clash
	Refused   []refused
	Closed    []refused
	Waiting   string
	Queued    int
	Oldest    time.Time
	Verified  time.Time
	Contact   time.Time
	HasOldest bool
	HasVerify bool
	HasTalked bool
	Fault     bool
	Notices   []string
	// Drafts are those that are older than twelve hours.
	Drafts []draftLine
}

// clash is one field of one record that two people wrote.
type clash struct {
	Record, Href, Title, Field, Label string
	Key                               string
	Number                            uint32
	Sides                             []side
	Shown                             bool
	// May: who works here may settle it; else the record's author or a lead does.
	May bool
}

// side is one value of it, and who wrote it.
type side struct {
	Stamp, Value, Who, Device string
	At                        time.Time
	Known, Shown, Empty       bool
	Diff                      []web.Piece
}

type refused struct {
	Op uint64
	// ID of its change.
	ID      string
	At      time.Time
	Why     string
	Records []lineItem
	Values  [][2]string
	Verdict string
	// Fixable: its author may correct it and send it again; Corrected: that was done, and
	// waits to be sent.
	Fixable, Corrected bool
}

// tray shows what a person has to decide, and how everything stands.
func (v *visit) tray() error {
	d := &trayData{Page: v.page(v.t("navTray"))}
	st, err := v.dev.Status(v.ctx())
	if err != nil {
		return err
	}
	d.Queued, d.Fault = st.Queued, st.LastFault != "" && !st.Suspended
	if st.Queued > 0 {
		d.Waiting = v.estimate(v.ctx(), st.Queued)
	}
	d.Oldest, d.HasOldest = v.at(st.OldestMS), st.OldestMS > 0
	d.Verified, d.HasVerify = v.at(st.VerifiedMS), st.VerifiedMS > 0
	d.Contact, d.HasTalked = v.at(st.LastContactMS), st.LastContactMS > 0
	for _, n := range []struct {
		is  bool
		key string
	}{
		{st.Suspended, "ntSuspended"}, {st.Unconfirmed, "ntUnconfirmed"}, {st.Skewed, "ntClock"}, {st.Recovering, "ntRecovering"},
		{st.Closed, "errLease"}, {st.Damaged > 0, "ntDamaged"}, {st.Lost > 0, "ntLost"},
	} {
		if n.is {
			d.Notices = append(d.Notices, v.t(n.key))
		}
	}
	if d.Drafts, err = v.overdue(); err != nil {
		return err
	}
	d.Page.Record = "tray"
	if d.Page.Hash, err = v.trayPrint(); err != nil {
		return err
	}
	conflicts, err := v.dev.Conflicts(v.ctx())
	if err != nil {
		return err
	}
	for _, view := range conflicts {
		for i := range view.Conflicts {
			d.Clashes = append(d.Clashes, v.clash(view, &view.Conflicts[i]))
		}
	}
	notAccepted, err := v.dev.Quarantined(v.ctx())
	if err != nil {
		return err
	}
	for i := range notAccepted {
		d.Refused = append(d.Refused, v.refused(&notAccepted[i]))
	}
	closed, err := v.dev.Closed(v.ctx())
	if err != nil {
		return err
	}
	for i := range closed {
		d.Closed = append(d.Closed, v.refused(&closed[i]))
	}
	return v.show("tray", d)
}

// trayPrint tells whether the tray holds what it held.
func (v *visit) trayPrint() (string, error) {
	h := sha256.New()
	conflicts, err := v.dev.Conflicts(v.ctx())
	if err != nil {
		return "", err
	}
	for _, view := range conflicts {
		for _, c := range view.Conflicts {
			for _, ch := range c.Choices {
				fmt.Fprintln(h, view.ID, c.Path, ch.Stamp, ch.Author)
			}
		}
	}
	refused, err := v.dev.Quarantined(v.ctx())
	for _, n := range refused {
		fmt.Fprintln(h, n.Op, n.Corrected)
	}
	if err != nil {
		return "", err
	}
	drafts, err := v.overdue()
	for _, d := range drafts {
		fmt.Fprintln(h, d.Href)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

// titleOf names a record.
func (v *visit) titleOf(view *client.View) (title, href string) {
	if view.Kind == nil {
		return v.t("unknownKind"), "tray"
	}
	title, href = v.domain().KindLabel(view.Kind.Name, v.lang), view.Kind.Name+"/"+view.ID.String()
	switch m := view.Message.(type) {
	case *tandemv1.Incident:
		return title + " " + m.GetNumber(), "call/" + view.ID.String()
	case *tandemv1.Person:
		return title + ": " + nameOf(m), href
	case *tandemv1.Encounter:
		return title + ": " + v.personName(m.GetPersonId()), href
	case *tandemv1.Referral:
		return title + ": " + v.code("need", m.GetNeed()), href
	case *tandemv1.FormResponse:
		return title + ": " + v.responseLine(view).Title, "response/" + view.ID.String()
	case *tandemv1.Note:
		return title, href
	}
	if sheets[view.Kind.Name] != nil {
		return title, pageOf(view.Kind.Name) + "/" + view.ID.String()
	}
	return title, "tray"
}

func (v *visit) clash(view *client.View, c *client.Conflict) clash {
	out := clash{Record: view.ID.String(), Field: c.Field, Key: hex.EncodeToString([]byte(c.Path.Key)), Number: c.Path.Field, Shown: c.Displayed}
	out.Title, out.Href = v.titleOf(view)
	out.May = view.Origin.Author == v.me.Person || slices.Contains(v.me.Roles, "lead")
	out.Label = v.domain().FieldLabel(view.Kind.Name, c.Field, v.lang)
	var first string
	for i, ch := range c.Choices {
		s := side{Stamp: strconv.FormatUint(uint64(ch.Stamp), 16), Value: v.say(view.Kind.Name, c.Field, ch.Message), Shown: i == 0 && c.Displayed, At: v.at(ch.AtMS), Known: ch.AtMS != 0}
		s.Empty = s.Value == ""
		if m := v.staff(ch.Author.String()); m != nil {
			s.Who = m.GetDisplayName()
		} else {
			s.Who = v.t("somebody")
		}
		if ch.Author == v.me.Person {
			s.Who += " (" + v.t("you") + ")"
		}
		if i == 0 {
			first = s.Value
		} else if long(first) || long(s.Value) {
			s.Diff = web.Difference(first, s.Value)
		}
		out.Sides = append(out.Sides, s)
	}
	return out
}

// say is the value of a field in words.
func (v *visit) say(kind, field string, msg proto.Message) string {
	if msg == nil {
		return ""
	}
	fd, ok := fieldOf(msg.ProtoReflect().Descriptor(), field)
	if !ok || !msg.ProtoReflect().Has(fd) {
		return ""
	}
	if fd.Message() != nil && fd.IsList() {
		// Messages in a list: what each says, in order.
		var out []string
		list := msg.ProtoReflect().Get(fd).List()
		for i := range list.Len() {
			if text := v.sayMessage(kind, field, list.Get(i).Message()); text != "" {
				out = append(out, text)
			}
		}
		return strings.Join(out, "; ")
	}
	list := v.domain().FieldCodes(kind, field)
	values := valuesOf(msg, field, v.a.o.Zone)
	if list != "" {
		var out []string
		for _, c := range values {
			out = append(out, v.code(list, c))
		}
		return strings.Join(out, ", ")
	}
	switch {
	case len(values) > 0 && fd.Kind() == protoreflect.BoolKind:
		return v.t(map[string]string{"true": "yes", "false": "no"}[values[0]])
	case len(values) > 0:
		return strings.Join(values, ", ")
	case fd.Message() != nil:
		return v.sayMessage(kind, field, msg.ProtoReflect().Get(fd).Message())
	}
	return ""
}

// sayMessage is a message inside a record in words: its texts and codes, in order.
func (v *visit) sayMessage(kind, field string, m protoreflect.Message) string {
	var out []string
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		name := field + "." + string(fd.Name())
		if !m.Has(fd) || fd.IsList() || fd.Message() != nil || fd.Kind() == protoreflect.BytesKind || strings.HasSuffix(name, "_id") {
			continue
		}
		text := fmt.Sprint(m.Get(fd).Interface())
		switch {
		case v.domain().FieldCodes(kind, name) != "":
			text = v.code(v.domain().FieldCodes(kind, name), text)
		case fd.Kind() == protoreflect.BoolKind && m.Get(fd).Bool():
			text = v.domain().FieldLabel(kind, name, v.lang)
		case fd.Kind() == protoreflect.BoolKind:
			continue
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return v.t("aValue")
	}
	return strings.Join(out, ", ")
}

// refused says what was not accepted, and why.
func (v *visit) refused(n *client.NotAccepted) refused {
	r := refused{Op: n.Op, ID: n.Change.String(), At: v.at(n.AtMS), Fixable: fixable(n), Corrected: n.Corrected}
	key := "refusal." + strconv.Itoa(int(n.Code))
	if _, ok := words[key]; ok {
		r.Why = v.t(key)
	} else {
		r.Why = v.t("refusal.0")
	}
	switch n.Verdict {
	case tandemv1.OutcomeCode_OUTCOME_CODE_DISMISSED:
		r.Verdict = join(v.t("vdDismissed"), n.Reason)
	case tandemv1.OutcomeCode_OUTCOME_CODE_REPLACED:
		r.Verdict = v.t("vdReplaced")
	}
	for _, w := range n.Decoded.GetRecords() {
		id, ok := syncengine.IDFromBytes(w.GetRecord())
		if !ok {
			continue
		}
		l := lineItem{Title: v.t("unknownKind"), Href: "tray"}
		if k := v.domain().Kind(w.GetKind()); k != nil {
			l.Title = v.domain().KindLabel(k.Name, v.lang)
		}
		if view, err := v.dev.Get(v.ctx(), id); err == nil {
			l.Title, l.Href = v.titleOf(view)
		}
		r.Records = append(r.Records, l)
	}
	for _, val := range n.Values {
		if val.Message == nil || val.Path.Field < 20 {
			continue
		}
		kind := v.domain().KindOf(val.Message)
		if text := v.say(kind.Name, val.Field, val.Message); text != "" {
			r.Values = append(r.Values, [2]string{v.domain().FieldLabel(kind.Name, val.Field, v.lang), text})
		}
	}
	return r
}

// settleConflict takes the side that a person has chosen.
func (v *visit) settleConflict() error {
	id, err := parseID(v.r.PostFormValue("record"))
	if err != nil {
		return client.ErrNotFound
	}
	number, err := strconv.ParseUint(v.r.PostFormValue("number"), 10, 32)
	if err != nil {
		return client.ErrNotFound
	}
	stamp, err := strconv.ParseUint(v.r.PostFormValue("stamp"), 16, 64)
	if err != nil {
		return client.ErrNotFound
	}
	key, err := hex.DecodeString(v.r.PostFormValue("key"))
	if err != nil {
		return client.ErrNotFound
	}
	view, err := v.dev.Get(v.ctx(), id)
	if err != nil {
		return err
	}
	path := syncengine.Path{Field: uint32(number), Key: string(key)}
	if _, err := v.dev.Resolve(v.ctx(), view, path, client.Choose{Stamp: syncengine.Stamp(stamp)}); err != nil {
		return fmt.Errorf("settling: %w", err)
	}
	return v.to("tray")
}

// withdraw takes back a save that was not accepted. Its words are kept.
func (v *visit) withdraw() error {
	op, err := strconv.ParseUint(v.r.PostFormValue("op"), 10, 64)
	if err != nil {
		return client.ErrNotFound
	}
	refused, err := v.dev.Quarantined(v.ctx())
	if err != nil {
		return err
	}
	if _, err := v.dev.Withdraw(v.ctx(), op); err != nil {
		return err
	}
	for i := range refused {
		if refused[i].Op == op {
			if err := v.forget("fix", refused[i].Change.String()); err != nil {
				return err
			}
		}
	}
	return v.to("tray")
}

// wake has what waits tried now: somebody sees that the signal is back.
func (v *visit) wake() error {
	v.dev.Wake()
	return v.to("tray")
}

package app

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/web"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func init() {
	// The typing of a correction is kept under the id of the change that it is of.
	sheets["fix"] = []section{}
}

// isFix reports whether a field of a sheet is one of a correction: the place of the
// record in the save, then the field.
func isFix(kind, name string) bool {
	at, field, ok := strings.Cut(name, ".")
	_, err := strconv.ParseUint(at, 10, 8)
	return kind == "fix" && ok && err == nil && field != "" && len(name) < 200
}

// fixable reports whether an author can do something about a refusal: not where it is
// tried again by itself, or where nobody can read it.
func fixable(n *client.NotAccepted) bool {
	switch n.Code {
	case tandemv1.Refusal_REFUSAL_INVALID, tandemv1.Refusal_REFUSAL_OVERSIZE, tandemv1.Refusal_REFUSAL_FORBIDDEN, tandemv1.Refusal_REFUSAL_REVOKED:
		return len(n.Decoded.GetRecords()) > 0
	}
	return false
}

type fixData struct {
	Page    *web.Page
	ID      string
	Refused refused
	Records []fixRecord
	Seen    string
	// Decided: somebody has decided on the save meanwhile.
	Decided bool
}

type fixRecord struct {
	Title  string
	Fields []web.Field
	// Read are values that this page cannot change.
	Read [][2]string
}

// toFix returns the refused save of the path, by the id of its change. decided: it does not
// wait for its author any more.
func (v *visit) toFix() (n *client.NotAccepted, decided bool, err error) {
	id, err := parseID(v.r.PathValue("id"))
	if err != nil {
		return nil, false, client.ErrNotFound
	}
	all, err := v.dev.Quarantined(v.ctx())
	if err != nil {
		return nil, false, err
	}
	closed, err := v.dev.Closed(v.ctx())
	if err != nil {
		return nil, false, err
	}
	for i := range all {
		if all[i].Change == id {
			return &all[i], all[i].Corrected || !fixable(&all[i]), nil
		}
	}
	for i := range closed {
		if closed[i].Change == id {
			return &closed[i], true, nil
		}
	}
	// A lead has let it in as it was: what was typed for it is there still.
	if d, err := v.typedIn("fix", id.String()); err != nil {
		return nil, false, err
	} else if d != nil {
		return &client.NotAccepted{Change: id}, true, nil
	}
	return nil, false, client.ErrNotFound
}

// fixPage shows a save that was not accepted, to be corrected by its author. Where
// somebody has decided on it meanwhile, what was typed for its correction is shown.
func (v *visit) fixPage() error {
	n, decided, err := v.toFix()
	if err != nil {
		return err
	}
	if !decided {
		return v.showFix(n, n.Fields, "")
	}
	typing, err := v.typedIn("fix", n.Change.String())
	if err != nil {
		return err
	}
	if typing == nil {
		return v.to("tray")
	}
	d := &fixData{Page: v.page(v.t("fixTitle")), ID: n.Change.String(), Decided: true}
	r := fixRecord{Title: v.t("fixTyped")}
	for name, t := range typing.Fields {
		at, field, _ := strings.Cut(name, ".")
		label := v.t("fixTyped")
		if k := v.domain().KindByName(typing.Of[at]); k != nil {
			label = v.field(k.Name, spec{name: field}).Label
		}
		r.Read = append(r.Read, [2]string{label, strings.Join(t.Values, ", ")})
	}
	slices.SortFunc(r.Read, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	d.Records = []fixRecord{r}
	return v.show("fix", d)
}

// fixes notes of which kinds the records of a save are that a correction is of: when it is
// decided on, the save may be gone from here.
func (v *visit) fixes(d *draft) {
	if d.Kind != "fix" {
		return
	}
	all, err := v.dev.Quarantined(v.ctx())
	if err != nil {
		return
	}
	for _, n := range all {
		if n.Change.String() != d.Record {
			continue
		}
		d.Of = map[string]string{}
		for i, w := range n.Decoded.GetRecords() {
			if k := v.domain().Kind(w.GetKind()); k != nil {
				d.Of[strconv.Itoa(i)] = k.Name
			}
		}
	}
}

// dropFix forgets what was typed for a correction that nobody needs any more.
func (v *visit) dropFix() error {
	n, decided, err := v.toFix()
	if err != nil {
		return err
	}
	if decided {
		if err := v.forget("fix", n.Change.String()); err != nil {
			return err
		}
	}
	return v.to("tray")
}

// showFix shows the page; at are the fields at fault, as "kind/field".
func (v *visit) showFix(n *client.NotAccepted, at []string, failed string) error {
	d := &fixData{Page: v.page(v.t("fixTitle")), ID: n.Change.String(), Refused: v.refused(n)}
	d.Page.Error = failed
	typing, err := v.typedIn("fix", d.ID)
	if err != nil {
		return err
	}
	seen := map[string]int{}
	if typing != nil {
		for name, t := range typing.Fields {
			seen[name] = t.N
		}
	}
	for i, w := range n.Decoded.GetRecords() {
		msg, err := v.domain().Values(w)
		if err != nil {
			return err
		}
		kind := v.domain().KindOf(msg)
		r := fixRecord{Title: v.domain().KindLabel(kind.Name, v.lang)}
		if id, ok := syncengine.IDFromBytes(w.GetRecord()); ok {
			if view, err := v.dev.Get(v.ctx(), id); err == nil {
				r.Title, _ = v.titleOf(view)
			}
		}
		for _, sp := range v.fixSpecs(kind.Name, msg, at) {
			f, values := v.field(kind.Name, sp), valuesOf(msg, sp.name, v.a.o.Zone)
			wrong := slices.ContainsFunc(at, func(s string) bool { return faultOf(s, kind.Name, sp.name) })
			f.Name, f.When = fmt.Sprintf("%d.%s", i, sp.name), ""
			if typing != nil && typing.Fields[f.Name] != nil {
				values = typing.Fields[f.Name].Values
			}
			if f.Kind == "scale" {
				// The save may hold what no slider stands at.
				f.Kind = "chips"
			}
			if wrong {
				f.Problem = v.t("fixHere")
			}
			f.Fill(values)
			if m, ok := msg.(*tandemv1.Disclosure); ok && sp.name == "consent_id" {
				if _, err := v.offerConsents(&f, m.GetPersonId()); err != nil {
					return err
				}
			}
			r.Fields = append(r.Fields, f)
		}
		msg.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			name := string(fd.Name())
			shown := slices.ContainsFunc(r.Fields, func(f web.Field) bool {
				first, _, _ := strings.Cut(strings.TrimPrefix(f.Name, fmt.Sprintf("%d.", i)), ".")
				return first == name
			})
			if text := v.say(kind.Name, name, msg); fd.Number() >= 20 && !shown && !strings.HasSuffix(name, "_id") && text != "" {
				r.Read = append(r.Read, [2]string{v.domain().FieldLabel(kind.Name, name, v.lang), text})
			}
			return true
		})
		slices.SortFunc(r.Read, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		d.Records = append(d.Records, r)
	}
	b, err := json.Marshal(seen)
	if err != nil {
		return err
	}
	d.Seen = string(b)
	return v.show("fix", d)
}

// faultOf reports whether a fault, as "kind/field", is about a field of a form.
func faultOf(fault, kind, name string) bool {
	k, field, _ := strings.Cut(fault, "/")
	return k == kind && field != "" && touches(name, field)
}

// fixSpecs are the fields of a save that a form can hold, those at fault first.
func (v *visit) fixSpecs(kind string, msg proto.Message, at []string) (out []spec) {
	wrong := func(sp spec) bool {
		return slices.ContainsFunc(at, func(s string) bool { return faultOf(s, kind, sp.name) })
	}
	for _, sec := range sheets[kind] {
		for _, sp := range sec.fields {
			sp.need, sp.more = false, false
			if wrong(sp) || !empty(valuesOf(msg, sp.name, v.a.o.Zone)) {
				out = append(out, sp)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b spec) int {
		switch {
		case wrong(a) == wrong(b):
			return 0
		case wrong(a):
			return -1
		}
		return 1
	})
	return out
}

// fix sends a save again with the values that its author has corrected.
func (v *visit) fix() error {
	change, err := parseID(v.r.PathValue("id"))
	if err != nil {
		return client.ErrNotFound
	}
	// It is kept first, whatever has become of the save.
	id := change.String()
	if err := v.posted("fix", id); err != nil {
		return err
	}
	n, decided, err := v.toFix()
	if err != nil {
		return err
	}
	if decided {
		return v.to("tray/fix/" + id)
	}
	typing, err := v.typedIn("fix", id)
	if err != nil {
		return err
	}
	_, err = v.dev.Fix(v.ctx(), n.Op, func(f *client.Fix) error {
		if typing == nil {
			return nil
		}
		for name, t := range typing.Fields {
			at, field, _ := strings.Cut(name, ".")
			i, err := strconv.Atoi(at)
			if err != nil || i >= len(f.Records) {
				continue
			}
			if err := apply(f.Records[i].Message, field, t.Values, v.a.o.Zone); err != nil {
				return &client.InvalidError{Code: tandemv1.Refusal_REFUSAL_INVALID, Fields: []string{f.Records[i].Kind.Name + "/" + field}}
			}
			if err := v.domain().EnsureElements(f.Records[i].Message, rand.Reader); err != nil {
				return err
			}
		}
		return nil
	})
	invalid, ok := errors.AsType[*client.InvalidError](err)
	switch {
	case ok && invalid.Code == tandemv1.Refusal_REFUSAL_FORBIDDEN:
		return v.showFix(n, n.Fields, v.t("errForbidden"))
	case ok:
		return v.showFix(n, invalid.Fields, v.t("fixNotTaken"))
	case errors.Is(err, client.ErrLookAgain):
		return v.showFix(n, n.Fields, v.t("fixLookAgain"))
	case errors.Is(err, client.ErrAccepted):
		// It was decided on meanwhile: what was typed is shown, and stays.
		return v.to("tray/fix/" + id)
	case err != nil:
		return err
	}
	if err := v.forget("fix", id); err != nil {
		return err
	}
	return v.to("tray")
}

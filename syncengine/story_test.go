package syncengine_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// A story is lines of what happens to one record at a server, and of what is then
// expected:
//
//	C create lifecycle=draft text=calm     change C makes the record
//	E set text=upset<C text.. codes.x=+<0  change E writes paths, naming heads as bases
//	S sign lifecycle=signed<C @C,E         the screen of S shows changes C and E
//	hold Q set text=other<C                change Q comes to lie in quarantine
//	again E                                change E arrives a second time
//	> text calm/C* upset/E                 the heads of text, the displayed one marked
//	> text nothing                         the path has no head
//	> asks late_edit text, differs label   the work items of the last change
//	> open text                            the paths a human is to settle
//	> rev 1                                signed and amended states so far
//	> waits                                the last change waits in quarantine
//
// A value - clears. Elements are field.key=+ or field.key=content; keys of messages
// are padded to 8 bytes.
type story struct {
	t      *testing.T
	shelf  *shelf
	byName map[string]*change
	// names in order of first mention: the n-th has stamp n.
	names []string
	// last is what the last change did, and how it failed.
	last *syncengine.Applied
	err  error
}

func tell(t *testing.T, text string) *story {
	t.Helper()
	s := &story{t: t, shelf: newShelf(), byName: map[string]*change{}}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if want, ok := strings.CutPrefix(line, "> "); ok {
			s.expect(want)
			continue
		}
		s.happen(line)
	}
	return s
}

var actNames = map[string]tandemv1.Act{
	"create": tandemv1.Act_ACT_CREATE, "set": tandemv1.Act_ACT_SET, "append": tandemv1.Act_ACT_APPEND,
	"void": tandemv1.Act_ACT_VOID, "restore": tandemv1.Act_ACT_RESTORE, "resolve": tandemv1.Act_ACT_RESOLVE,
	"sign": tandemv1.Act_ACT_SIGN, "amend": tandemv1.Act_ACT_AMEND, "close": tandemv1.Act_ACT_CLOSE,
}

var fieldNames = map[string]uint32{
	"lifecycle": fLifecycle, "text": fText, "risk": fRisk, "state": fState, "label": fLabel, "new": fNew,
	"codes": fCodes, "newcodes": fNewCodes, "phones": fPhones, "newparts": fNewParts, "events": fEvents,
	"newevents": fNewEvents,
}

func (s *story) happen(line string) {
	s.t.Helper()
	words := strings.Fields(line)
	switch words[0] {
	case "hold":
		if err := s.shelf.hold(s.change(words[1:])); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		return
	case "again", "release":
		s.last, s.err = s.shelf.accept(s.byName[words[1]])
	default:
		s.last, s.err = s.shelf.accept(s.change(words))
	}
	if s.err != nil && !errors.Is(s.err, syncengine.ErrWaiting) {
		s.t.Fatalf("%s: %v", line, s.err)
	}
}

// change reads name, act, writes and the screen.
func (s *story) change(words []string) *change {
	s.t.Helper()
	c := &change{stamp: s.stamp(words[0]), act: actNames[words[1]]}
	if c.act == 0 {
		s.t.Fatalf("%v: no act is called that", words)
	}
	s.byName[words[0]] = c
	for _, word := range words[2:] {
		if screen, ok := strings.CutPrefix(word, "@"); ok {
			c.seen = s.screen(screen)
			continue
		}
		c.edits = append(c.edits, s.edit(c.act, word))
	}
	return c
}

// screen is what a device shows that holds these changes, in this order.
func (s *story) screen(names string) []byte {
	s.t.Helper()
	device := newShelf()
	for name := range strings.SplitSeq(names, ",") {
		if _, err := device.accept(s.byName[name]); err != nil {
			s.t.Fatalf("screen %s: %v", names, err)
		}
	}
	return device.state().Seen()
}

func (s *story) edit(act tandemv1.Act, word string) edit {
	s.t.Helper()
	path, rest, ok := strings.Cut(word, "=")
	value, bases, named := strings.Cut(rest, "<")
	if !ok || named != (act != tandemv1.Act_ACT_CREATE) {
		s.t.Fatalf("%s: want path=value, and <bases unless the act is create", word)
	}
	e := edit{path: s.path(path), text: value, absent: value == "-"}
	if !named {
		return e
	}
	for base := range strings.SplitSeq(bases, ",") {
		if base == "0" {
			e.bases = append(e.bases, 0)
			continue
		}
		e.bases = append(e.bases, s.stamp(base))
	}
	return e
}

// stamp of a change, which the story may tell later or never.
func (s *story) stamp(name string) syncengine.Stamp {
	i := slices.Index(s.names, name)
	if i < 0 {
		s.names = append(s.names, name)
		i = len(s.names) - 1
	}
	return syncengine.Stamp(i + 1)
}

func (s *story) name(stamp syncengine.Stamp) string { return s.names[stamp-1] }

func (s *story) path(word string) syncengine.Path {
	s.t.Helper()
	name, key, _ := strings.Cut(word, ".")
	p := syncengine.Path{Field: fieldNames[name], Key: key}
	if p.Field == 0 {
		s.t.Fatalf("%s: no field is called that", word)
	}
	if p.Field >= 300 {
		p.Key = fmt.Sprintf("%-8s", key)
	}
	return p
}

func (s *story) expect(want string) {
	s.t.Helper()
	subject, rest, _ := strings.Cut(want, " ")
	switch subject {
	case "waits":
		if !errors.Is(s.err, syncengine.ErrWaiting) {
			s.t.Errorf("> %s: got %v", want, s.err)
		}
		return
	case "asks":
		rest = strings.TrimPrefix(rest, "nothing")
		var got []string
		if s.last != nil {
			for _, item := range s.last.Items {
				got = append(got, strings.TrimSpace(string(item.Kind)+" "+nameOf(item.Path)))
			}
		}
		s.compare(want, strings.Join(got, ", "), rest)
	case "open":
		var got []string
		for _, p := range s.shelf.state().Conflicts(kind) {
			got = append(got, nameOf(p))
		}
		s.compare(want, strings.Join(got, " "), strings.TrimPrefix(rest, "nothing"))
	case "rev":
		s.compare(want, fmt.Sprint(s.shelf.state().Rev), rest)
	default:
		s.compare(want, s.heads(s.path(subject)), strings.TrimPrefix(rest, "nothing"))
	}
}

func (s *story) compare(line, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("> %s: got %q", line, got)
	}
}

// heads prints the heads of a path in order of acceptance: value/change, with a
// star on the displayed one.
func (s *story) heads(p syncengine.Path) string {
	st := s.shelf.state()
	i := slices.IndexFunc(st.Paths, func(ps syncengine.PathState) bool { return ps.Path == p })
	if i < 0 {
		return ""
	}
	ps := &st.Paths[i]
	var out []string
	for n, h := range ps.Heads {
		word := valueOf(p, h.Raw) + "/" + s.name(h.Stamp)
		if n == ps.Displayed {
			word += "*"
		}
		out = append(out, word)
		if len(ps.Heads) > 1 || ps.Displayed < 0 {
			if whole := headOf(h.Stamp, h.Raw); fmt.Sprint(whole) != fmt.Sprint(h) {
				s.t.Errorf("%s: head of %s has lost who wrote it and when: %+v", nameOf(p), s.name(h.Stamp), h)
			}
		}
	}
	return strings.Join(out, " ")
}

// valueOf is a value as stories write it.
func valueOf(p syncengine.Path, raw []byte) string {
	if raw == nil {
		return "-"
	}
	v, _ := syncengine.RawString(raw)
	switch {
	case p.Field < 200:
		return v
	case p.Field < 300:
		return "+"
	}
	return v[12:]
}

func nameOf(p syncengine.Path) string {
	for name, field := range fieldNames {
		if field == p.Field {
			if p.Key != "" {
				name += "." + strings.TrimSpace(p.Key)
			}
			return name
		}
	}
	return ""
}

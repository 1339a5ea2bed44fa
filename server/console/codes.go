package console

import (
	"cmp"
	"crypto/rand"
	"io"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

type codesData struct {
	Page  *web.Page
	Lists []web.Option
	List  string
	// Core are the codes of the list, Own those that the agency has added.
	Core, Own []codeRow
	Hash      string
	Parents   []web.Option
}

type codeRow struct {
	Code, EN, ES, MapsTo string
	Retired              bool
	// Ruled codes are of a core code that has no kinds of an agency's own.
	Ruled bool
}

// ownCodes is the record of the agency's own codes of a list, nil where it has none.
func (s *sight) ownCodes(list string) (*item, *tandemv1.CodeSet) {
	for _, it := range s.reference("code_set") {
		if m, ok := it.msg.(*tandemv1.CodeSet); ok && m.GetList() == list && m.GetAgencyId() == s.p.Agency.String() && it.rec.Lifecycle() == record.Active {
			return it, m
		}
	}
	return nil, nil
}

// own are the codes that agencies have added, of all of them: a record may have any.
func (s *sight) own() *record.OwnCodes {
	if s.added == nil {
		s.added = &record.OwnCodes{}
		for _, it := range s.reference("code_set") {
			if m, ok := it.msg.(*tandemv1.CodeSet); ok && it.rec.Lifecycle() == record.Active {
				s.added.Add(m)
			}
		}
	}
	return s.added
}

// codesHash tells whether the codes are still those that were shown.
func codesHash(it *item) string { return strconv.FormatUint(uint64(it.rec.Hash), 16) }

// codes shows a list of codes, with the agency's own.
func (v *visit) codes() error {
	d := &codesData{Page: v.page("navCodes", "codes"), List: v.r.URL.Query().Get("list")}
	err := v.look("codes", syncengine.ID{}, func(s *sight) error {
		for _, list := range record.Extendable {
			if len(s.c.domain.Codes(list)) == 0 {
				continue
			}
			if d.List == "" {
				d.List = list
			}
			d.Lists = append(d.Lists, web.Option{Code: list, Label: s.t("list." + list), On: list == d.List})
		}
		if !slices.ContainsFunc(d.Lists, func(o web.Option) bool { return o.On }) {
			return errAbsent
		}
		for _, c := range s.c.domain.Codes(d.List) {
			d.Core = append(d.Core, codeRow{Code: c.Code, EN: c.EN, ES: c.ES, MapsTo: c.MapsTo, Retired: c.Retired})
			if !c.Retired && c.Code != record.NotRecorded && !record.Ruled(d.List, c.Code) {
				d.Parents = append(d.Parents, web.Option{Code: c.Code, Label: s.code(d.List, c.Code)})
			}
		}
		if it, m := s.ownCodes(d.List); m != nil {
			d.Hash = codesHash(it)
			for _, e := range m.GetEntries() {
				d.Own = append(d.Own, codeRow{e.GetCode(), e.GetEn(), e.GetEs(), e.GetMapsTo(), e.GetRetired(), record.Ruled(d.List, e.GetMapsTo())})
			}
		}
		slices.SortFunc(d.Own, func(a, b codeRow) int { return strings.Compare(a.Code, b.Code) })
		return nil
	})
	if err != nil {
		return err
	}
	return v.show(200, "codes", d)
}

// setCode adds a code of the agency's own to a list, or changes what one is called, or takes
// it out of use. A code is never taken away, and never comes to mean another one.
func (v *visit) setCode() error {
	list, code := v.form("list"), v.form("code")
	if !slices.Contains(record.Extendable, list) || !v.c.domain.HasCode(list, v.form("maps_to")) && v.form("maps_to") != "" {
		return errForm
	}
	say := func(en, es string) error {
		return &server.InvalidError{Problems: []record.Problem{{Fields: []string{"code"}, EN: en, ES: es}}}
	}
	entry := func(s *sight, m *tandemv1.CodeSet) error {
		i := slices.IndexFunc(m.GetEntries(), func(e *tandemv1.CodeEntry) bool { return e.GetCode() == code })
		switch {
		case v.form("act") == "add" && (i >= 0 || v.c.domain.HasCode(list, code)):
			return say("The code is or was in use: a code never comes to mean something else. Take another one.", "El código se usa o se usó: un código nunca pasa a significar otra cosa. Elija otro.")
		case v.form("act") == "add" && slices.ContainsFunc(s.own().Of(list, ""), func(c record.Code) bool { return c.Code == code }):
			return say("Another agency has this code, and it may mean something else there. Take another one, for example with the name of your program in it.", "Otra agencia tiene este código, y allí puede significar otra cosa. Elija otro, por ejemplo con el nombre de su programa.")
		case v.form("act") == "add" && v.form("maps_to") == "":
			return say("Say which core code it is a kind of, so that the numbers still count it.", "Diga de qué código básico es una variante, para que las cifras lo cuenten.")
		case v.form("act") == "add" && record.Ruled(list, v.form("maps_to")):
			return say("Rules ask for that core code by name: no code can be a kind of it. Choose another core code, or use that one itself.", "Hay reglas que piden ese código básico por su nombre: ningún código puede ser una variante de él. Elija otro código básico, o use ese mismo.")
		case v.form("act") == "add":
			m.Entries = append(m.Entries, &tandemv1.CodeEntry{Code: &code, En: words1(v.form("en")), Es: words1(v.form("es")), MapsTo: words1(v.form("maps_to"))})
		case i < 0:
			return server.ErrMoved
		default:
			m.Entries[i].En, m.Entries[i].Es, m.Entries[i].Retired = words1(v.form("en")), words1(v.form("es")), yes(v.form("retired"))
		}
		return nil
	}
	return v.write("codes?list="+list+"&done=okSaved", func(c *server.Composer) error {
		// Looked for in here, so that two first codes at once are of one record.
		s, err := v.sight(c.Tx)
		if err != nil {
			return err
		}
		it, m := s.ownCodes(list)
		if s.err != nil {
			return s.err
		}
		if it == nil {
			m := &tandemv1.CodeSet{AgencyId: new(c.Principal.Agency.String()), Lifecycle: new(record.Active), Schema: new(uint32(syncengine.Schema)), List: &list}
			if err := entry(s, m); err != nil {
				return err
			}
			_, err := c.Create(m)
			return err
		}
		if v.form("act") != "add" && codesHash(it) != v.form("hash") {
			return server.ErrMoved
		}
		if err := entry(s, m); err != nil {
			return err
		}
		if err := v.c.domain.EnsureElements(m, cmp.Or[io.Reader](v.c.o.Rand, rand.Reader)); err != nil {
			return err
		}
		if faults := v.c.domain.Validate(m, record.Entry{NowMS: c.NowMS()}); len(faults) > 0 && !faults[0].Warn {
			return &server.InvalidError{Problems: faults}
		}
		return c.Write(it.rec, tandemv1.Act_ACT_SET, m, "")
	})
}

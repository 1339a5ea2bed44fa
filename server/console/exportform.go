package console

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server/bulk"
	"github.com/tandem-response/tandem/server/export"
	"github.com/tandem-response/tandem/syncengine/record"
	"github.com/tandem-response/tandem/web"
)

// errSince says that what was typed is no sequence.
var errSince = errors.New("this is no sequence")

// exportForm is what is asked before an export.
type exportForm struct {
	Formats, Sets, Bases, Programs, Kinds, Labels, With []web.Option
	Purpose, Recipient, Agreement, From, Until          string
	// Since and ToAge are as they were typed.
	Since, ToAge string
	// More: something was chosen of what is folded away.
	More bool
}

// switches are what can be taken in besides, and how the files can differ: the names of the
// form's fields, which are those of the words too.
var switches = []string{"notes", "drafts", "void", "machine", "bom"}

// chosen is the switch of a request.
func chosen(ask *bulk.Request, name string) *bool {
	return map[string]*bool{"notes": &ask.Notes, "drafts": &ask.Drafts, "void": &ask.Void, "machine": &ask.Machine, "bom": &ask.BOM}[name]
}

func (s *sight) exportForm(ask bulk.Request) exportForm {
	f := exportForm{Purpose: ask.Purpose, Recipient: ask.Recipient, Agreement: ask.Agreement, From: ask.From, Until: ask.Until}
	for _, format := range export.Formats {
		// A lead's form is CSV.
		if format == export.CSV || s.admin {
			f.Formats = append(f.Formats, web.Option{Code: format, Label: s.t("format." + format), On: format == ask.Format})
		}
	}
	for _, set := range []string{export.Full, export.Limited, export.SafeHarbor} {
		f.Sets = append(f.Sets, web.Option{Code: set, Label: s.t("set." + set), On: set == ask.Set})
	}
	for _, o := range s.options(s.c.domain.FieldCodes("disclosure", "basis"), ask.Basis) {
		switch o.Code {
		case "treatment", "payment_ops", "required_by_law", "court_order", "public_health", "research", "part2_emergency":
			f.Bases = append(f.Bases, o)
		}
	}
	for _, p := range s.reference("program") {
		f.Programs = append(f.Programs, web.Option{Code: p.rec.ID.String(), Label: s.title(p), On: p.rec.ID.String() == ask.Program})
	}
	for _, k := range s.c.domain.Kinds() {
		if k.Compartment != tandemv1.Compartment_COMPARTMENT_PRIVATE && k.Compartment != tandemv1.Compartment_COMPARTMENT_SYSTEM {
			f.Kinds = append(f.Kinds, web.Option{Code: k.Name, Label: s.c.domain.KindLabel(k.Name, s.lang), On: slices.Contains(ask.Kinds, k.Name)})
		}
	}
	for _, lang := range []string{"", record.English, record.Spanish} {
		f.Labels = append(f.Labels, web.Option{Code: lang, Label: s.t("labels." + lang), On: lang == ask.Labels})
	}
	for _, name := range switches {
		f.With = append(f.With, web.Option{Code: name, Label: s.t("with." + name), On: *chosen(&ask, name)})
	}
	f.More = len(ask.Kinds) > 0 || ask.Labels != "" || ask.Since > 0 || len(ask.ToAge) > 0 || slices.ContainsFunc(f.With, func(o web.Option) bool { return o.On })
	return f
}

// asked is the export of the form that was sent.
func (v *visit) asked() (bulk.Request, error) {
	ask := bulk.Request{
		Format: v.form("format"), Set: v.form("set"), Agreement: v.form("agreement"), Program: v.form("program"), Labels: v.form("labels"),
		Purpose: v.form("purpose"), Recipient: v.form("recipient"), Basis: v.form("basis"), From: v.form("from"), Until: v.form("until"),
		ToAge: strings.Fields(v.form("to_age")),
	}
	for _, kind := range v.r.PostForm["kinds"] {
		if kind != "" {
			ask.Kinds = append(ask.Kinds, kind)
		}
	}
	for _, name := range switches {
		*chosen(&ask, name) = v.form(name) == "true"
	}
	var err error
	if since := v.form("since"); since != "" {
		if ask.Since, err = strconv.ParseUint(since, 10, 63); err != nil {
			return ask, errSince
		}
	}
	return ask, nil
}

// fieldsOf are the fields of a form that asks for the same.
func fieldsOf(ask bulk.Request) (fields [][2]string) {
	add := func(name string, values ...string) {
		for _, value := range values {
			if value != "" {
				fields = append(fields, [2]string{name, value})
			}
		}
	}
	add("purpose", ask.Purpose)
	add("recipient", ask.Recipient)
	add("basis", ask.Basis)
	add("format", ask.Format)
	add("set", ask.Set)
	add("agreement", ask.Agreement)
	add("program", ask.Program)
	add("from", ask.From)
	add("until", ask.Until)
	add("labels", ask.Labels)
	add("kinds", ask.Kinds...)
	add("to_age", strings.Join(ask.ToAge, "\n"))
	if ask.Since > 0 {
		add("since", strconv.FormatUint(ask.Since, 10))
	}
	for _, name := range switches {
		if *chosen(&ask, name) {
			add(name, "true")
		}
	}
	return fields
}

// fact is a line of what a page says about something.
type fact struct{ Word, Says string }

// terms are what was asked for, in words: the same before it is made, before it is approved
// and once it is there.
func (s *sight) terms(ask bulk.Request) (terms []fact) {
	add := func(word, says string) {
		if says != "" {
			terms = append(terms, fact{s.t(word), says})
		}
	}
	add("purpose", ask.Purpose)
	add("recipient", ask.Recipient)
	add("basis", s.c.domain.Label("disclosure_basis", ask.Basis, s.lang))
	add("format", s.t("format."+ask.Format))
	set := ask.Set
	if set == "" {
		set = export.Full
	}
	add("set", join(s.t("set."+set), ask.Agreement))
	if ask.Program != "" {
		add("program", s.nameOf("program", ask.Program))
	}
	if ask.From != "" || ask.Until != "" {
		add("period", strings.TrimSpace(ask.From+" – "+ask.Until))
	}
	if ask.Since > 0 {
		add("sinceSeq", strconv.FormatUint(ask.Since, 10))
	}
	var kinds, with []string
	for _, kind := range ask.Kinds {
		kinds = append(kinds, s.c.domain.KindLabel(kind, s.lang))
	}
	add("whatKinds", strings.Join(kinds, ", "))
	for _, name := range switches {
		if *chosen(&ask, name) {
			with = append(with, s.t("with."+name))
		}
	}
	add("exportWith", strings.Join(with, ". "))
	if ask.Labels != "" {
		add("codeLabels", s.t("labels."+ask.Labels))
	}
	add("toAge", strings.Join(ask.ToAge, " "))
	return terms
}

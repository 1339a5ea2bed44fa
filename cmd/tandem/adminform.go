package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/form"
)

type adminFormCmd struct {
	Import  adminFormImportCmd  `cmd:"" help:"Bring a questionnaire in, as a draft."`
	Wording adminFormWordingCmd `cmd:"" help:"Load the wording of a draft, or write the file to fill in."`
	List    adminFormListCmd    `cmd:"" help:"List forms with their versions."`
	Show    adminFormShowCmd    `cmd:"" help:"Show what a form asks and how it counts."`
	Export  adminFormExportCmd  `cmd:"" help:"Write a form as a FHIR R4 questionnaire."`
	Publish adminFormPublishCmd `cmd:"" help:"Publish a draft: from then on it never changes."`
	Retire  adminFormRetireCmd  `cmd:"" help:"Offer a published form no more."`
	Void    adminFormVoidCmd    `cmd:"" help:"Say that a form was a mistake."`
}

func (adminFormCmd) Help() string {
	return `Screenings, intakes, surveys and assessments are forms: questionnaires of FHIR R4. A form is
imported as a draft, given its wording where it has none, and published.

  tandem admin form import docs/packs/readiness --agency AGENCY
  tandem admin form publish FORM`
}

// forms runs do with the administration; what is wrong with a form is bad input.
func (f dataFlag) forms(a *app, do func(*server.Admin) error) error {
	err := f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error { return do(ad) })
	known := []error{server.ErrFormDraft, server.ErrFormSettled, server.ErrFormNotPublished, server.ErrFormReason, server.ErrFormSize}
	for _, k := range known {
		if errors.Is(err, k) {
			return exits(exitBadInput, err)
		}
	}
	if _, ok := errors.AsType[form.FaultError](err); ok {
		return exits(exitBadInput, err)
	}
	if _, ok := errors.AsType[*server.InvalidError](err); ok {
		return exits(exitBadInput, err)
	}
	return err
}

// formArg names a form.
type formArg struct {
	dataFlag

	Form string `arg:"" placeholder:"FORM" help:"Id of the form."`
	JSON bool   `help:"Print one line of JSON."`
}

// act runs do on the form, and says what was done.
func (c *formArg) act(a *app, done string, do func(*server.Admin, syncengine.ID) error) error {
	id, err := formID(c.Form)
	if err != nil {
		return err
	}
	return c.forms(a, func(ad *server.Admin) error {
		if err := do(ad, id); err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"form": id.String(), done: true})
		}
		a.say("The form %s is %s.", id, done)
		return nil
	})
}

func formID(text string) (syncengine.ID, error) {
	id, err := syncengine.ParseID(text)
	if err != nil {
		return id, exits(exitUsage, fmt.Errorf("FORM: %w; tandem admin form list shows the ids", err))
	}
	return id, nil
}

// maxFormFile bounds what is read of a file, which is refused beyond form.MaxFile.
const maxFormFile = form.MaxFile + 1

// readFile reads a file up to a size, - for standard input.
func (a *app) readFile(name string, most int64) ([]byte, error) {
	in := a.in
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, exits(exitBadInput, err)
		}
		defer file.Close() //nolint:errcheck // It was only read.
		in = file
	}
	raw, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return nil, exits(exitBadInput, err)
	}
	return raw, nil
}

type adminFormImportCmd struct {
	dataFlag

	Path   string `arg:"" placeholder:"PATH" help:"A questionnaire of FHIR R4 in JSON, - for standard input, or the directory of a form pack."`
	Agency string `required:"" placeholder:"ID" help:"Agency that it belongs to."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (adminFormImportCmd) Help() string {
	return `A file is taken whole or not at all; what is wrong with it is named with its place. What
changes nothing of what is asked is left out, and named too.

  tandem admin form import docs/packs/cssrs-screener --agency AGENCY
  tandem admin form import intake.json --agency AGENCY`
}

func (c *adminFormImportCmd) Run(a *app) error {
	agency, err := ids("--agency", c.Agency)
	if err != nil {
		return err
	}
	path, pack := c.Path, false
	if info, err := os.Stat(path); c.Path != "-" && err == nil && info.IsDir() {
		if _, err := os.Stat(filepath.Join(path, "LICENSE.md")); err != nil {
			return exits(exitBadInput, fmt.Errorf("%s is no form pack: it has no LICENSE.md; name the questionnaire itself", path))
		}
		path, pack = filepath.Join(path, "questionnaire.json"), true
	}
	raw, err := a.readFile(path, maxFormFile)
	if err != nil {
		return err
	}
	f, notes, err := form.Import(raw)
	if err != nil {
		return exits(exitBadInput, err)
	}
	return c.forms(a, func(ad *server.Admin) error {
		id, err := ad.AddForm(a.ctx, agency[0], f)
		if err != nil {
			return err
		}
		made, err := ad.Form(a.ctx, id)
		if err != nil {
			return err
		}
		missing := form.Publishable(made)
		if c.JSON {
			return a.json(map[string]any{
				"id": id.String(), "code": made.GetCode(), "version": made.GetVersion(), "items": len(made.GetDefinition().GetItems()),
				"left_out": append([]string{}, notes...), "missing": lines(missing),
			})
		}
		a.say("%s   %s, version %d, a draft of %d items", id, made.GetCode(), made.GetVersion(), len(made.GetDefinition().GetItems()))
		for _, n := range notes {
			a.say("  %s", n)
		}
		if pack {
			a.say("  its terms: %s", made.GetLicence())
		}
		if len(missing) > 0 {
			a.say("Before it can be published:\n  %s", strings.Join(lines(missing), "\n  "))
		}
		return nil
	})
}

func lines(faults form.FaultError) []string {
	out := make([]string, 0, len(faults))
	for _, f := range faults {
		out = append(out, f.String())
	}
	return out
}

type adminFormWordingCmd struct {
	formArg

	File     string `arg:"" optional:"" placeholder:"FILE" help:"CSV of the columns link_id,option,en,es; - for standard input."`
	Template bool   `help:"Write the file to fill in to standard output, and change nothing."`
}

func (adminFormWordingCmd) Help() string {
	return `Some instruments may be used and not handed on: their forms come without words. The agency
copies the words from its own licensed copy into a file, and loads it.

  tandem admin form wording FORM --template > wording.csv
  tandem admin form wording FORM wording.csv`
}

func (c *adminFormWordingCmd) Run(a *app) error {
	id, err := formID(c.Form)
	if err != nil {
		return err
	}
	if c.Template == (c.File != "") {
		return exits(exitUsage, errors.New("name a file to load, or --template to have one to fill in"))
	}
	if c.Template {
		return c.forms(a, func(ad *server.Admin) error {
			f, err := ad.Form(a.ctx, id)
			if err != nil {
				return err
			}
			csv := form.Wording(f.GetDefinition())
			if c.JSON {
				return a.json(map[string]any{"form": id.String(), "csv": string(csv)})
			}
			_, err = a.out.Write(csv)
			return err
		})
	}
	raw, err := a.readFile(c.File, maxFormFile)
	if err != nil {
		return err
	}
	return c.act(a, "worded", func(ad *server.Admin, id syncengine.ID) error {
		return ad.EditForm(a.ctx, id, func(f *tandemv1.Form) error {
			def, err := form.SetWording(f.GetDefinition(), raw)
			f.Definition = def
			return err
		})
	})
}

type adminFormListCmd struct {
	dataFlag

	JSON bool `help:"Print one line of JSON for each form."`
}

func (adminFormListCmd) Help() string {
	return `For example:

  tandem admin form list`
}

func (c *adminFormListCmd) Run(a *app) error {
	return c.forms(a, func(ad *server.Admin) error {
		all, err := ad.Forms(a.ctx)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
		for _, s := range all {
			f := s.Form
			if c.JSON {
				err := a.json(map[string]any{
					"id": s.ID.String(), "code": f.GetCode(), "version": f.GetVersion(), "status": f.GetLifecycle(), "title": f.GetTitle().GetEn(),
					"category": f.GetCategory(), "subject": f.GetSubject(), "agency": f.GetAgencyId(), "items": len(f.GetDefinition().GetItems()),
				})
				if err != nil {
					return err
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", s.ID, f.GetCode(), f.GetVersion(), f.GetLifecycle(), f.GetTitle().GetEn())
		}
		return w.Flush()
	})
}

type adminFormShowCmd struct {
	formArg

	Lang string `default:"en" enum:"en,es" help:"Language: en or es."`
}

func (adminFormShowCmd) Help() string {
	return `For example:

  tandem admin form show FORM --lang es`
}

func (c *adminFormShowCmd) Run(a *app) error {
	id, err := formID(c.Form)
	if err != nil {
		return err
	}
	return c.forms(a, func(ad *server.Admin) error {
		f, err := ad.Form(a.ctx, id)
		if err != nil {
			return err
		}
		played := form.Evaluate(f.GetDefinition(), nil)
		missing, english := form.Publishable(f), form.Untranslated(f)
		if c.JSON {
			type shown struct {
				LinkID    string   `json:"link_id"`
				Type      string   `json:"type"`
				Text      string   `json:"text"`
				Depth     int      `json:"depth"`
				Required  bool     `json:"required"`
				Condition bool     `json:"conditional"`
				Options   []string `json:"options,omitempty"`
			}
			var items []shown
			for _, it := range played.Items {
				one := shown{it.GetLinkId(), it.GetType(), form.In(it.GetText(), c.Lang), it.Depth, it.GetRequired(), len(it.GetEnableWhen()) > 0, nil}
				for _, o := range it.GetOptions() {
					one.Options = append(one.Options, form.OptionText(o, c.Lang))
				}
				items = append(items, one)
			}
			return a.json(map[string]any{
				"id": id.String(), "code": f.GetCode(), "version": f.GetVersion(), "status": f.GetLifecycle(), "licence": f.GetLicence(),
				"items": items, "missing": lines(missing), "untranslated": len(english),
			})
		}
		title := f.GetTitle()
		a.say("%s (%s, version %d, %s)", form.In(&tandemv1.FormText{En: title.En, Es: title.Es}, c.Lang), f.GetCode(), f.GetVersion(), f.GetLifecycle())
		for _, it := range played.Items {
			mark := ""
			if it.GetRequired() {
				mark = " *"
			}
			if len(it.GetEnableWhen()) > 0 {
				mark += " (asked under conditions)"
			}
			words := form.In(it.GetText(), c.Lang)
			if words == "" {
				words = "(no wording)"
			}
			a.say("%s%s  %s%s", strings.Repeat("  ", it.Depth+1), it.GetLinkId(), words, mark)
			for _, o := range it.GetOptions() {
				a.say("%s- %s", strings.Repeat("  ", it.Depth+3), form.OptionText(o, c.Lang))
			}
		}
		for _, s := range played.Scores {
			bands := make([]string, 0, len(s.GetBands()))
			for _, b := range s.GetBands() {
				bands = append(bands, form.In(b.GetText(), c.Lang))
			}
			a.say("  score %s: %s (%s)", s.GetCode(), form.In(s.GetTitle(), c.Lang), strings.Join(bands, ", "))
		}
		if len(missing) > 0 {
			a.say("Before it can be published:\n  %s", strings.Join(lines(missing), "\n  "))
		}
		if len(english) > 0 {
			a.say("%d texts have no Spanish and are shown in English.", len(english))
		}
		return nil
	})
}

type adminFormExportCmd struct {
	formArg
}

func (adminFormExportCmd) Help() string {
	return `Written to standard output; import reads it back as the same form.

  tandem admin form export FORM > form.json`
}

func (c *adminFormExportCmd) Run(a *app) error {
	id, err := formID(c.Form)
	if err != nil {
		return err
	}
	return c.forms(a, func(ad *server.Admin) error {
		f, err := ad.Form(a.ctx, id)
		if err != nil {
			return err
		}
		raw, err := form.Export(f)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"form": id.String(), "questionnaire": string(raw)})
		}
		_, err = a.out.Write(raw)
		return err
	})
}

type adminFormPublishCmd struct {
	formArg
}

func (adminFormPublishCmd) Help() string {
	return `What is published never changes: a correction is imported as the next version. Publishing it
retires the version before.

  tandem admin form publish FORM`
}

func (c *adminFormPublishCmd) Run(a *app) error {
	return c.act(a, "published", func(ad *server.Admin, id syncengine.ID) error { return ad.PublishForm(a.ctx, id) })
}

type adminFormRetireCmd struct {
	formArg
}

func (adminFormRetireCmd) Help() string {
	return `What was answered in it stays readable.

  tandem admin form retire FORM`
}

func (c *adminFormRetireCmd) Run(a *app) error {
	return c.act(a, "retired", func(ad *server.Admin, id syncengine.ID) error { return ad.RetireForm(a.ctx, id) })
}

type adminFormVoidCmd struct {
	formArg

	Reason string `required:"" help:"Why."`
}

func (adminFormVoidCmd) Help() string {
	return `For example:

  tandem admin form void FORM --reason "imported twice"`
}

func (c *adminFormVoidCmd) Run(a *app) error {
	return c.act(a, "void", func(ad *server.Admin, id syncengine.ID) error { return ad.VoidForm(a.ctx, id, c.Reason) })
}

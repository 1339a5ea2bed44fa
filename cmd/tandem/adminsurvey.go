package main

import (
	"errors"
	"fmt"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
)

type adminSurveyCmd struct {
	Open  adminSurveyOpenCmd  `cmd:"" help:"Open the link under which anybody answers a survey without a name."`
	Close adminSurveyCloseCmd `cmd:"" help:"Close the link of a program; what was answered stays."`
	List  adminSurveyListCmd  `cmd:"" help:"List the links with how many have answered."`
}

func (adminSurveyCmd) Help() string {
	return `An anonymous survey is a published form about the community that asks for choices, yes or no,
and whole numbers alone. A program has one link; tandem serve shows it in English and
Spanish, keeps no name, address or device, and of the time only the day.

  tandem admin survey open --program PROGRAM --form FORM
  tandem admin survey close --program PROGRAM`
}

// surveys runs do with the administration; what cannot be is bad input.
func (f dataFlag) surveys(a *app, do func(*server.Admin) error) error {
	err := f.admin(a, func(ad *server.Admin, _ *store.Store, _ *store.Org) error { return do(ad) })
	for _, known := range []error{server.ErrSurveyOpen, server.ErrNoSurvey, server.ErrSurveyForm} {
		if errors.Is(err, known) {
			return exits(exitBadInput, err)
		}
	}
	return err
}

func surveyLine(l *store.SurveyLink) map[string]any {
	line := map[string]any{
		"program": l.Program.String(), "form": l.Form.String(), "path": "/survey/" + l.Token, "answers": l.Answers, "opened": stamp(l.CreatedMS), "open": l.ClosedMS == 0,
	}
	if l.ClosedMS != 0 {
		line["closed"] = stamp(l.ClosedMS)
	}
	return line
}

type adminSurveyOpenCmd struct {
	dataFlag

	Program string `required:"" placeholder:"ID" help:"Program that it is about."`
	Form    string `required:"" placeholder:"ID" help:"The form: published, about the community."`
	JSON    bool   `help:"Print one line of JSON."`
}

func (adminSurveyOpenCmd) Help() string {
	return `For example:

  tandem admin survey open --program PROGRAM --form FORM`
}

func (c *adminSurveyOpenCmd) Run(a *app) error {
	program, err := ids("--program", c.Program)
	if err != nil {
		return err
	}
	formID, err := ids("--form", c.Form)
	if err != nil {
		return err
	}
	return c.surveys(a, func(ad *server.Admin) error {
		l, err := ad.OpenSurvey(a.ctx, program[0], formID[0])
		if err != nil {
			return err
		}
		if c.JSON {
			return a.json(surveyLine(l))
		}
		a.say("The survey is open at /survey/%s of the server's address.", l.Token)
		return nil
	})
}

type adminSurveyCloseCmd struct {
	dataFlag

	Program string `required:"" placeholder:"ID" help:"Program whose link is closed."`
	JSON    bool   `help:"Print one line of JSON."`
}

func (adminSurveyCloseCmd) Help() string {
	return `For example:

  tandem admin survey close --program PROGRAM`
}

func (c *adminSurveyCloseCmd) Run(a *app) error {
	program, err := ids("--program", c.Program)
	if err != nil {
		return err
	}
	return c.surveys(a, func(ad *server.Admin) error {
		if err := ad.CloseSurvey(a.ctx, program[0]); err != nil {
			return err
		}
		if c.JSON {
			return a.json(map[string]any{"program": program[0].String(), "open": false})
		}
		a.say("The survey is closed; its answers stay.")
		return nil
	})
}

type adminSurveyListCmd struct {
	dataFlag

	JSON bool `help:"Print one line of JSON for each link."`
}

func (adminSurveyListCmd) Help() string {
	return `For example:

  tandem admin survey list`
}

func (c *adminSurveyListCmd) Run(a *app) error {
	return c.surveys(a, func(ad *server.Admin) error {
		all, err := ad.Surveys(a.ctx)
		if err != nil {
			return err
		}
		for _, l := range all {
			if c.JSON {
				if err := a.json(surveyLine(l)); err != nil {
					return err
				}
				continue
			}
			state := "open"
			if l.ClosedMS != 0 {
				state = fmt.Sprintf("closed %v", stamp(l.ClosedMS))
			}
			a.say("/survey/%s   program %s, form %s   %d answers, %s", l.Token, l.Program, l.Form, l.Answers, state)
		}
		return nil
	})
}

package main

import (
	"errors"

	"github.com/tandem-response/tandem/client"
)

type profileCmd struct {
	List   profileListCmd   `cmd:"" help:"List the profiles of a shared device; needs no passphrase."`
	Add    profileAddCmd    `cmd:"" help:"Make a profile for one more person."`
	Choose profileChooseCmd `cmd:"" help:"Say whose profile commands mean from now on."`
}

func (profileCmd) Help() string {
	return `A laptop that people share holds a profile for each: a store of their own, sealed with their
own passphrase, and a device of its own to the server. Nobody's words can be read with
another's passphrase. Wherever a command takes --store, name the directory of profiles, and
with --profile, or TANDEM_PROFILE, whose; without it, it is the chosen one.

  tandem profile add --dir ~/car12 mb
  tandem enroll --server https://tandem.example.org --store ~/car12 --profile mb
  tandem profile choose --dir ~/car12 mb`
}

// profilesFlag names a directory of profiles.
type profilesFlag struct {
	Dir string `required:"" placeholder:"DIR" help:"Directory of the profiles."`
}

// profileError gives the errors of profiles an exit code.
func profileError(err error) error {
	for _, known := range []error{client.ErrProfileName, client.ErrProfileThere, client.ErrNoProfile, client.ErrNoProfiles} {
		if errors.Is(err, known) {
			return exits(exitUsage, err)
		}
	}
	return err
}

type profileListCmd struct {
	profilesFlag

	JSON bool `help:"Print one line of JSON for each."`
}

func (profileListCmd) Help() string {
	return `For example:

  tandem profile list --dir ~/car12`
}

func (c *profileListCmd) Run(a *app) error {
	all, err := client.Profiles(c.Dir)
	if err != nil {
		return profileError(err)
	}
	for _, p := range all {
		state := "sealed"
		switch {
		case p.Erased:
			state = "key destroyed"
		case !p.Enrolled:
			state = "to be enrolled"
		}
		if c.JSON {
			if err := a.json(map[string]any{"profile": p.Name, "store": p.Dir, "state": state, "chosen": p.Chosen}); err != nil {
				return err
			}
			continue
		}
		mark := ""
		if p.Chosen {
			mark = ", chosen"
		}
		a.say("%s: %s%s", p.Name, state, mark)
	}
	return nil
}

type profileAddCmd struct {
	profilesFlag

	Name string `arg:"" help:"What the profile is called: initials, since everybody at the device sees it."`
	JSON bool   `help:"Print one line of JSON."`
}

func (profileAddCmd) Help() string {
	return `The directory may be new. The profile is empty until its person enrols it with a code.

  tandem profile add --dir ~/car12 mb`
}

func (c *profileAddCmd) Run(a *app) error {
	p, err := client.AddProfile(c.Dir, c.Name)
	if err != nil {
		return profileError(err)
	}
	if c.JSON {
		return a.json(map[string]any{"profile": p.Name, "store": p.Dir})
	}
	a.say("Next: tandem enroll --server URL --store %s --profile %s", c.Dir, c.Name)
	return nil
}

type profileChooseCmd struct {
	profilesFlag

	Name string `arg:"" help:"Profile."`
	JSON bool   `help:"Print one line of JSON."`
}

func (profileChooseCmd) Help() string {
	return `It opens nothing: every command asks for the passphrase of the chosen profile.

  tandem profile choose --dir ~/car12 mb`
}

func (c *profileChooseCmd) Run(a *app) error {
	if err := client.ChooseProfile(c.Dir, c.Name); err != nil {
		return profileError(err)
	}
	if c.JSON {
		return a.json(map[string]any{"profile": c.Name, "chosen": true})
	}
	a.say("Commands with --store %s mean %s now.", c.Dir, c.Name)
	return nil
}

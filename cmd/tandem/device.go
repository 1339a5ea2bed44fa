package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tandem-response/tandem/client"
	"github.com/tandem-response/tandem/client/vault"
	"golang.org/x/term"
)

// storeFlag names a device's store.
type storeFlag struct {
	passphraseFlag

	Store   string `required:"" placeholder:"DIR" help:"Directory of the device's store, or of the profiles of a device that people share."`
	Profile string `env:"TANDEM_PROFILE" placeholder:"NAME" help:"Profile of a shared device, where --store is a directory of profiles; without it the chosen one."`
}

// AfterApply puts the store of a profile in the place of the directory that holds it.
func (f *storeFlag) AfterApply() error {
	if f.Profile == "" && !client.IsProfiles(f.Store) {
		return nil
	}
	dir, err := client.ProfileDir(f.Store, f.Profile)
	if err != nil {
		return exits(exitUsage, fmt.Errorf("%w: tandem profile list --dir %s", err, f.Store))
	}
	f.Store, f.Profile = dir, ""
	return nil
}

// open opens the store. make says that it may be new; otherwise a directory that is
// not there is an error rather than a new store.
func (f storeFlag) open(a *app, makeIt bool, o client.Options) (*client.Client, error) {
	if err := f.AfterApply(); err != nil {
		return nil, err
	}
	if !makeIt {
		if _, err := os.Stat(f.Store); errors.Is(err, os.ErrNotExist) {
			return nil, exits(exitUsage, fmt.Errorf("there is no store in %s: enrol one first with tandem enroll --store %s", f.Store, f.Store))
		}
	}
	o.Logger = a.log
	if o.Passphrase == nil {
		o.Passphrase = f.ask(a)
	}
	dev, err := client.Open(a.ctx, f.Store, o)
	if errors.Is(err, client.ErrWiped) {
		// The server may not know yet.
		err = cmp.Or(client.AcknowledgeWipe(a.ctx, f.Store, o), err)
	}
	if errors.Is(err, client.ErrLocked) {
		err = fmt.Errorf("%w: run this at a terminal, which asks for it, or name a file that holds it with --passphrase-file", err)
	}
	return dev, err
}

// closing closes c and keeps the first error.
func closing(c io.Closer, err *error) {
	if cerr := c.Close(); *err == nil {
		*err = cerr
	}
}

// codeOf gives the errors of client an exit code.
func codeOf(err error) int {
	switch {
	case errors.Is(err, client.ErrNetwork), errors.Is(err, client.ErrBusy):
		return exitNoAnswer
	case isInvalid(err), isWrongPassphrase(err), errors.Is(err, vault.ErrWeak):
		return exitBadInput
	}
	return exitFailed
}

func isInvalid(err error) bool {
	_, ok := errors.AsType[*client.InvalidError](err)
	return ok
}

func isWrongPassphrase(err error) bool {
	_, ok := errors.AsType[*vault.WrongPassphraseError](err)
	return ok
}

type enrollCmd struct {
	storeFlag

	Server string `placeholder:"URL" help:"Address of the server; plain http only on this machine. Not needed to confirm a store, nor with a scanned QR code."`
	CA     string `name:"ca" placeholder:"FILE" type:"existingfile" help:"PEM file of the certificate authority that signed the server's certificate, where the system does not know it."`
	Vault  bool   `help:"Keep the store in a vault, sealed with a passphrase. It is so where --passphrase-file names one."`
	JSON   bool   `help:"Print one line of JSON."`
}

func (enrollCmd) Help() string {
	return `Turns an empty directory into the store of the person and device that the code was
made for. The code is asked for, or read as one line from standard input: it never
stands on the command line. What a scanner reads from the QR code of an admin is taken in
place of the code, and says which server. With --vault the store is sealed with a passphrase, which a
terminal asks for; without one --passphrase-file names a file that holds it.

  tandem enroll --server https://tandem.example.org --store ~/car12 --vault
  echo K7QF-2M9T-XXXX | tandem enroll --server http://127.0.0.1:8440 --store car12`
}

func (c *enrollCmd) Run(a *app) (err error) {
	o := client.Options{Vault: c.Vault || c.PassphraseFile != ""}
	if c.CA != "" {
		if o.Roots, err = os.ReadFile(c.CA); err != nil {
			return err
		}
	}
	code, err := a.secret("Enrolment code: ")
	if err != nil {
		return err
	}
	if server, scanned, ok := client.Invited(code); ok {
		if c.Server != "" && strings.TrimRight(c.Server, "/") != server {
			return exits(exitUsage, errors.New("--server is not the server that the scanned code is for: leave it out"))
		}
		c.Server, code = server, scanned
	}
	dev, err := c.open(a, true, o)
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	st, err := dev.Status(a.ctx)
	if err != nil {
		return err
	}
	again := st.Unconfirmed
	if _, err := dev.Session(); err == nil && !again && c.Server == "" {
		// Where the server has another key for it by now, it is enrolled again; where its
		// device is suspended, it waits until that is lifted.
		_, err := dev.Sync(a.ctx)
		if again = errors.Is(err, client.ErrRefused) && !errors.Is(err, client.ErrSuspended); !again {
			return cmp.Or(err, client.ErrEnrolled)
		}
	}
	if again {
		if err := dev.Confirm(a.ctx, code); err != nil {
			return err
		}
		a.say("Confirmed. Next: tandem sync --store %s", c.Store)
		return nil
	}
	if c.Server == "" {
		return exits(exitUsage, errors.New("--server: name the address of the server"))
	}
	if err := dev.Enroll(a.ctx, c.Server, code); err != nil {
		return err
	}
	s, err := dev.Session()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.json(map[string]any{"device": s.Device.String(), "person": s.Person.String(), "roles": s.Roles, "label": s.Label})
	}
	a.say("Enrolled: %s, device %q. Next: tandem sync --store %s", s.Name, s.Label, c.Store)
	return nil
}

// secret asks for a line without showing it where a terminal is there, and reads it
// from standard input otherwise.
func (a *app) secret(prompt string) (string, error) {
	if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(a.err, prompt)
		line, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.err)
		return strings.TrimSpace(string(line)), err
	}
	line, err := bufio.NewReader(io.LimitReader(a.in, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", exits(exitUsage, errors.New("no code on standard input: give it as one line"))
	}
	return line, nil
}

type syncCmd struct {
	storeFlag
	Repair bool `help:"Compare everything held with the server's, and fetch what differs."`
	JSON   bool `help:"Print one line of JSON."`
}

func (syncCmd) Help() string {
	return `Sends what waits and fetches what is new, until nothing is left in either direction.
A broken connection costs only what was in flight: run it again.

  tandem sync --store ~/car12
  tandem sync --store ~/car12 --repair`
}

func (c *syncCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	before, err := dev.Status(a.ctx)
	if err != nil {
		return err
	}
	if c.Repair {
		if err := dev.Repair(a.ctx); err != nil {
			return err
		}
	}
	if !c.JSON && before.Queued > 0 {
		waiting, err := dev.Estimate(a.ctx)
		if err != nil {
			return err
		}
		a.say("To send: %s.", waiting)
	}
	moved, err := dev.Sync(a.ctx)
	if errors.Is(err, client.ErrWiped) {
		return err
	}
	if moved != nil && (err == nil || moved.Requests > 0) {
		if perr := c.print(a, dev, before, moved, err); perr != nil {
			return errors.Join(err, perr)
		}
	}
	return err
}

func (c *syncCmd) print(a *app, dev *client.Client, before *client.Status, m *client.Moved, failed error) error {
	after, err := dev.Status(context.WithoutCancel(a.ctx))
	if err != nil {
		return err
	}
	if c.JSON {
		return a.json(map[string]any{
			"applied": m.Applied, "conflicting": m.Conflicting, "not_accepted": m.NotAccepted, "rows": m.Rows,
			"requests": m.Requests, "bytes_up": m.BytesUp, "bytes_down": m.BytesDown,
			"queued": after.Queued, "conflicts": after.Conflicts, "complete": failed == nil,
		})
	}
	a.say("Sent %d of %d saves that waited; %d records came (%s up, %s down).",
		m.Applied+m.NotAccepted, before.Queued, m.Rows, size(m.BytesUp), size(m.BytesDown))
	if m.NotAccepted > 0 {
		a.say("%d could not be accepted: they are kept here and at the server, see tandem status.", m.NotAccepted)
	}
	if after.Conflicts > 0 {
		a.say("%d records hold different values that a person should settle.", after.Conflicts)
	}
	if failed == nil && m.Differing > 0 {
		a.say("%d scopes differ from the server's: run tandem verify and tell your administrator.", m.Differing)
	}
	if after.Unconfirmed {
		a.say("This store has a new id, since it was copied or set back; it only sends until it is confirmed: see tandem status.")
	}
	if after.Recovering {
		a.say("The server was restored and is being checked: what it lacked was sent again, and it sends nothing yet.")
	}
	return nil
}

// size prints bytes as a person reads them.
func size(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tandem-response/tandem/client"
	"golang.org/x/term"
)

// passphraseFlag says where the passphrase of a store in a vault comes from.
type passphraseFlag struct {
	PassphraseFile string `env:"TANDEM_PASSPHRASE_FILE" placeholder:"FILE" help:"File whose first line is the passphrase of a store in a vault. Without it the terminal asks."`
}

// ask returns what asks for the passphrase: the file, or the terminal. Where there is
// neither the store stays locked.
func (f passphraseFlag) ask(a *app) func(context.Context, bool) ([]byte, error) {
	return func(_ context.Context, fresh bool) ([]byte, error) {
		if f.PassphraseFile != "" {
			return firstLine(f.PassphraseFile)
		}
		if !fresh {
			return a.hidden("Passphrase of the store: ")
		}
		return a.twice()
	}
}

// firstLine returns the first line of a file.
func firstLine(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// hidden asks the terminal for a line without showing it; empty where there is none.
func (a *app) hidden(prompt string) ([]byte, error) {
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, nil
	}
	fmt.Fprint(a.err, prompt)
	line, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.err)
	return line, err
}

// twice asks for a new passphrase, and again.
func (a *app) twice() ([]byte, error) {
	one, err := a.hidden("New passphrase, five words or more: ")
	if err != nil || len(one) == 0 {
		return nil, err
	}
	two, err := a.hidden("The same again: ")
	if err != nil {
		return nil, err
	}
	defer clear(two)
	if !bytes.Equal(one, two) {
		return nil, exits(exitBadInput, errors.New("the two are not the same; nothing was changed"))
	}
	return one, nil
}

type vaultCmd struct {
	Status     vaultStatusCmd     `cmd:"" help:"Say how a store is kept; needs no passphrase."`
	Seal       vaultSealCmd       `cmd:"" help:"Move a store that is in the clear into a vault."`
	Passphrase vaultPassphraseCmd `cmd:"" help:"Change the passphrase."`
	Renew      vaultRenewCmd      `cmd:"" help:"Seal the store with a new data key."`
	Rekey      vaultRekeyCmd      `cmd:"" help:"Get the device another key to sign with."`
	Erase      vaultEraseCmd      `cmd:"" help:"Destroy the key, and with it what the store holds."`
}

func (vaultCmd) Help() string {
	return `A store in a vault is sealed, whole, with a key that only its passphrase opens: who has
the files alone has nothing. Ten wrong passphrases destroy the key. What is unsent then is
not lost: it stands in the sealed outbox as well, see tandem sealed.

  tandem vault seal --store ~/car12`
}

type vaultStatusCmd struct {
	Store string `required:"" placeholder:"DIR" help:"Directory of the device's store; that of a profile, not of profiles."`
	JSON  bool   `help:"Print one line of JSON."`
}

func (vaultStatusCmd) Help() string {
	return `For example:

  tandem vault status --store ~/car12`
}

func (c *vaultStatusCmd) Run(a *app) error {
	if _, err := os.Stat(c.Store); err != nil {
		return exits(exitUsage, fmt.Errorf("there is no store in %s", c.Store))
	}
	inVault, erased, err := client.Sealed(c.Store)
	if err != nil {
		return err
	}
	wiped, told, err := client.Wiped(c.Store)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.json(map[string]any{"vault": inVault, "erased": erased || wiped, "wiped": wiped, "acknowledged": told})
	}
	switch {
	case wiped && !told:
		a.say("The store was wiped at an administrator's order; the server does not know of it yet: tandem sync --store %s", c.Store)
	case wiped:
		a.say("The store was wiped at an administrator's order, and the server knows.")
	case erased:
		a.say("The key of this store is destroyed: nobody can read what was in it. What was unsent is in %s: tandem sealed deliver.", client.SealedPath(c.Store))
	case inVault:
		a.say("The store is in a vault.")
	default:
		a.say("The store is in the clear: tandem vault seal --store %s", c.Store)
	}
	return nil
}

type vaultSealCmd struct {
	storeFlag

	JSON bool `help:"Print one line of JSON."`
}

func (vaultSealCmd) Help() string {
	return `Copies the store into a vault, checks the copy, and puts it in the place of what was
there, at once: stopped in between, the store is as it was or in the vault. It needs as
much free room as the store takes up. The old bytes are written over as far as a disk lets
one; a disk that never held the store in the clear is surer.

  tandem vault seal --store ~/car12`
}

func (c *vaultSealCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{Vault: true})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	return a.sealed(c.JSON, true, "The store is in a vault.")
}

type vaultPassphraseCmd struct {
	storeFlag

	NewPassphraseFile string `placeholder:"FILE" help:"File whose first line is the new passphrase. Without it the terminal asks."`
	JSON              bool   `help:"Print one line of JSON."`
}

func (vaultPassphraseCmd) Help() string {
	return `Asks for the passphrase, and for the new one twice.

  tandem vault passphrase --store ~/car12`
}

func (c *vaultPassphraseCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	if !dev.InVault() {
		return exits(exitUsage, client.ErrNoVault)
	}
	fresh, err := passphraseFlag{c.NewPassphraseFile}.ask(a)(a.ctx, true)
	if err != nil {
		return err
	}
	defer clear(fresh)
	if len(fresh) == 0 {
		return exits(exitUsage, errors.New("there is no terminal to ask: name a file that holds the new passphrase with --new-passphrase-file"))
	}
	if err := dev.SetPassphrase(fresh); err != nil {
		return err
	}
	return a.sealed(c.JSON, true, "The passphrase is changed.")
}

type vaultRenewCmd struct {
	storeFlag

	JSON bool `help:"Print one line of JSON."`
}

func (vaultRenewCmd) Help() string {
	return `Draws a new data key and seals the whole store with it: for when the old one may have
been seen. Changing the passphrase does not do that. It needs as much free room as the
store takes up.

  tandem vault renew --store ~/car12`
}

func (c *vaultRenewCmd) Run(a *app) (err error) {
	if inVault, _, err := client.Sealed(c.Store); err != nil || !inVault {
		return errors.Join(err, exits(exitUsage, client.ErrNoVault))
	}
	dev, err := c.open(a, false, client.Options{Vault: true, NewKey: true})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	return a.sealed(c.JSON, true, "The store is sealed with a new key.")
}

type vaultRekeyCmd struct {
	storeFlag

	JSON bool `help:"Print one line of JSON."`
}

func (vaultRekeyCmd) Help() string {
	return `Has the server take another key for this device, in a vault or not; the old one is good
for nothing from then on: for when a copy of the store, or its key, may be with somebody
else. It is done by itself every 90 days. Without the server it waits for the next sync.

  tandem vault rekey --store ~/car12`
}

func (c *vaultRekeyCmd) Run(a *app) (err error) {
	dev, err := c.open(a, false, client.Options{})
	if err != nil {
		return err
	}
	defer closing(dev, &err)
	before, err := dev.KeyID()
	if err != nil {
		return err
	}
	if err := dev.RenewKey(a.ctx); err != nil {
		return err
	}
	if _, err := dev.Sync(a.ctx); err != nil {
		return err
	}
	after, err := dev.KeyID()
	if err != nil {
		return err
	}
	if before == after {
		return exits(exitNoAnswer, errors.New("the server did not give the device another key; it is asked again at the next sync"))
	}
	if c.JSON {
		return a.json(map[string]any{"key": after, "before": before})
	}
	a.say("The device has another key. The old one is good for nothing any more.")
	return nil
}

type vaultEraseCmd struct {
	Store string `required:"" placeholder:"DIR" help:"Directory of the device's store."`
	Yes   bool   `help:"Do it. What the store holds cannot be had back from it."`
	JSON  bool   `help:"Print one line of JSON."`
}

func (vaultEraseCmd) Help() string {
	return `Destroys the key of a store in a vault and removes its files; needs no passphrase. The
sealed outbox stays: deliver it with any enrolled device, and no word is lost.

  tandem vault erase --store ~/car12 --yes`
}

func (c *vaultEraseCmd) Run(a *app) error {
	if !c.Yes {
		return exits(exitUsage, errors.New("this destroys the key of the store; say --yes to do it"))
	}
	if err := client.Erase(c.Store); err != nil {
		return err
	}
	return a.sealed(c.JSON, false, "The key is destroyed. What was unsent is in "+client.SealedPath(c.Store)+": tandem sealed deliver.")
}

// sealed says how a store is kept now: in a vault, or with its key destroyed.
func (a *app) sealed(asJSON, inVault bool, words string) error {
	if asJSON {
		return a.json(map[string]any{"vault": inVault, "erased": !inVault})
	}
	a.say("%s", words)
	return nil
}

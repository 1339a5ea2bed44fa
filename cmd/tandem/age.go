package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"filippo.io/age"
	"github.com/tandem-response/tandem/server/bulk"
)

// Encrypted backups are files of age (age-encryption.org/v1): its tools open them too.

// ageMark is how such a file begins.
const ageMark = "age-encryption.org/v1"

// encryptTo returns the writer that encrypts to recipients, nil for none.
func encryptTo(recipients []string) (func(io.Writer) (io.WriteCloser, error), error) {
	all, err := bulk.Recipients(recipients)
	if errors.Is(err, bulk.ErrKey) {
		err = fmt.Errorf("%w, as tandem backup key prints it", err)
	}
	if err != nil {
		return nil, fmt.Errorf("--to-age: %w", err)
	}
	if len(all) == 0 {
		return nil, nil
	}
	return func(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, all...) }, nil
}

// errIdentity says that a backup needs its key.
var errIdentity = errors.New("the backup is encrypted: name the file of its key with --identity")

// decrypted returns the path of a backup in the clear: the file itself, or, for an encrypted
// one, a copy beside the directory that is to be made. done removes that.
func decrypted(from, identity, beside string) (path string, done func(), err error) {
	done = func() {}
	f, err := os.Open(from)
	if err != nil {
		return "", done, err
	}
	defer f.Close() //nolint:errcheck // It was only read.
	in := bufio.NewReader(f)
	if head, err := in.Peek(len(ageMark)); err != nil || string(head) != ageMark {
		// Too short for an encrypted one, or none: the restore says what it is.
		return from, done, nil
	}
	if identity == "" {
		return "", done, exits(exitUsage, errIdentity)
	}
	key, err := os.Open(identity)
	if err != nil {
		return "", done, err
	}
	defer key.Close() //nolint:errcheck // It was only read.
	known, err := age.ParseIdentities(key)
	if err != nil {
		return "", done, exits(exitBadInput, fmt.Errorf("%s holds no key of age", identity))
	}
	plain, err := age.Decrypt(in, known...)
	if err != nil {
		return "", done, exits(exitBadInput, errors.New("the backup does not open with this key, or its beginning is damaged"))
	}
	if beside, err = filepath.Abs(beside); err != nil {
		return "", done, err
	}
	// Of its owner alone, as CreateTemp makes it.
	out, err := os.CreateTemp(filepath.Dir(beside), ".restore-*")
	if err != nil {
		return "", done, err
	}
	done = func() { _ = os.Remove(out.Name()) }
	_, err = io.Copy(out, plain)
	if cerr := out.Close(); err == nil && cerr != nil {
		return "", done, cerr
	}
	if err != nil {
		return "", done, exits(exitBadInput, fmt.Errorf("the backup is damaged, or there is no room for it: %w", err))
	}
	return out.Name(), done, nil
}

type backupKeyCmd struct {
	To   string `required:"" placeholder:"FILE" help:"New file for the key."`
	JSON bool   `help:"Print one line of JSON."`
}

func (backupKeyCmd) Help() string {
	return `Writes the key to a new file that only its owner can read, and prints the public half, which
is what backups are encrypted to. Run it on a machine that is not the server, and keep the
file offline, twice: without it no encrypted backup can be opened.

  tandem backup key --to offline.key`
}

func (c *backupKeyCmd) Run(a *app) (err error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.To, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return exits(exitUsage, fmt.Errorf("there is a file %s already: name another one", c.To))
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "# public key: %s\n%s\n", key.Recipient(), key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if c.JSON {
		return a.json(map[string]any{"file": c.To, "recipient": key.Recipient().String()})
	}
	a.say("%s", key.Recipient())
	return nil
}

package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
)

// A laptop that people share holds a profile for each: a store of that person's own, in a
// vault under that person's passphrase, enrolled as a device of its own. A directory of
// profiles holds them by name; nothing in it but the names is shared.

const (
	// profilesFile marks a directory of profiles: a store in one of its directories is kept
	// in a vault, whatever it was opened with.
	profilesFile = "profiles"
	// chosenFile holds the name of the chosen profile.
	chosenFile = "chosen"
)

// Errors of profiles.
var (
	// ErrProfileName: no directory is named so.
	ErrProfileName = errors.New("a profile is named by 1 to 32 small letters, digits and hyphens, beginning with a letter: initials, not a whole name, since everybody at the device sees it")
	// ErrProfileThere: there is one of that name.
	ErrProfileThere = errors.New("there is a profile of that name already")
	// ErrNoProfile: there is none of that name.
	ErrNoProfile = errors.New("there is no profile of that name here")
	// ErrNoProfiles: the directory holds something else.
	ErrNoProfiles = errors.New("the directory is no directory of profiles, and not empty: name a new one")
)

var profileName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// Profile is one person's store on a shared device.
type Profile struct {
	// Name is what the directory is called, Dir its path.
	Name, Dir string
	// Enrolled: there is a store in it. Erased: its key was destroyed.
	Enrolled, Erased bool
	// Chosen: commands that name the directory of profiles mean this one.
	Chosen bool
}

// IsProfiles reports whether a directory is one of profiles.
func IsProfiles(dir string) bool {
	info, err := os.Lstat(filepath.Join(dir, profilesFile)) //nolint:gosec // The directory is the person's own choice.
	return err == nil && info.Mode().IsRegular()
}

// inProfiles reports whether a store is that of a profile.
func inProfiles(dir string) bool {
	abs, err := filepath.Abs(dir)
	return err == nil && IsProfiles(filepath.Dir(abs))
}

// Profiles lists the profiles of a directory, by name. It needs no passphrase, and tells
// nothing but what the names of the files tell.
func Profiles(dir string) (all []Profile, err error) {
	if !IsProfiles(dir) {
		return nil, ErrNoProfiles
	}
	chosen, err := chosenProfile(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("listing profiles: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() || !profileName.MatchString(e.Name()) {
			continue
		}
		p := Profile{Name: e.Name(), Dir: filepath.Join(dir, e.Name()), Chosen: e.Name() == chosen}
		if p.Enrolled, p.Erased, err = Sealed(p.Dir); err != nil {
			return nil, fmt.Errorf("profile %s: %w", p.Name, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// AddProfile makes a profile, and the directory of profiles where there is none. It is
// empty: [Open] and [Client.Enroll] make it somebody's.
func AddProfile(dir, name string) (*Profile, error) {
	if !profileName.MatchString(name) {
		return nil, ErrProfileName
	}
	if !IsProfiles(dir) {
		if err := makeProfiles(dir); err != nil {
			return nil, err
		}
	}
	p := &Profile{Name: name, Dir: filepath.Join(dir, name)}
	err := os.Mkdir(p.Dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil, ErrProfileThere
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("making a profile: %w", err)
	}
	return p, nil
}

// makeProfiles makes a directory of profiles of a new or empty one.
func makeProfiles(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making a directory of profiles: %w", err)
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("making a directory of profiles: %w", err)
	}
	if len(there) > 0 {
		return ErrNoProfiles
	}
	return writeNamed(dir, profilesFile, "Each directory here is one person's sealed store.\n")
}

// ChooseProfile makes commands that name the directory of profiles mean one of them. It
// opens nothing: that takes its person's passphrase.
func ChooseProfile(dir, name string) error {
	if _, err := ProfileDir(dir, name); err != nil {
		return err
	}
	return writeNamed(dir, chosenFile, name+"\n")
}

// ProfileDir returns the store that a name means in a directory of profiles; an empty name
// is the chosen one. The error is ErrNoProfile where there is none.
func ProfileDir(dir, name string) (string, error) {
	if !IsProfiles(dir) {
		return "", ErrNoProfiles
	}
	if name == "" {
		var err error
		if name, err = chosenProfile(dir); err != nil {
			return "", err
		}
	}
	path := filepath.Join(dir, name)
	if info, err := os.Lstat(path); !profileName.MatchString(name) || err != nil || !info.IsDir() {
		return "", ErrNoProfile
	}
	return path, nil
}

// chosenProfile returns the name of the chosen profile, empty for none.
func chosenProfile(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, chosenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading which profile is chosen: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// writeNamed puts a file of a few words in place, at once.
func writeNamed(dir, name, words string) error {
	path := filepath.Join(dir, name)
	err := os.WriteFile(path+newSuffix, []byte(words), 0o600)
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}

// SignOut ends a person's work: the key leaves memory, and only the passphrase opens the
// store again. What was being typed is kept, sealed, and what is unsent waits there.
func (c *Client) SignOut(ctx context.Context) error {
	if c.store.vault == nil {
		return ErrNoVault
	}
	noted := c.Note(ctx, &tandemv1.AuditEntry{Act: tandemv1.AuditAct_AUDIT_ACT_LOCKED, Code: "signed_out"})
	return errors.Join(noted, c.Close())
}

package people

import (
	"context"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"
)

// Bounds of a passphrase, in characters. Any character is taken, and none is asked for.
const (
	minPassphrase = 15
	maxPassphrase = 256
)

// Why a passphrase is not taken. The texts never quote it.
var (
	// ErrShort: it is too short.
	ErrShort = fmt.Errorf("the passphrase is shorter than %d characters: take four or five words", minPassphrase)
	// ErrLong: it is too long.
	ErrLong = fmt.Errorf("the passphrase is longer than %d characters", maxPassphrase)
	// ErrCommon: others use it, or it follows a simple pattern.
	ErrCommon = errors.New("the passphrase is one of those that are tried first: take words that have nothing to do with each other")
)

// Cost is what computing a hash costs.
type Cost struct {
	// MemoryKiB is the memory in KiB, Time the number of passes over it.
	MemoryKiB, Time uint32
	// Threads is the number of lanes.
	Threads uint8
}

// defaultCost is about a quarter of a second on one core.
var defaultCost = Cost{MemoryKiB: 64 << 10, Time: 3, Threads: 1}

// Bounds of parameters that are believed.
const (
	maxMemoryKiB = 1 << 20
	maxTime      = 64
	saltSize     = 16
	hashSize     = 32
)

// hasher hashes passphrases, a few at once. Safe for concurrent use.
type hasher struct {
	cost  Cost
	rand  io.Reader
	slots chan struct{}
	// dummy is what an account that is not there is compared with.
	dummy string
	// worked is told of each hash that was computed, in tests.
	worked func(Cost)
}

// hashing is how many hashes are computed at once: each takes its memory.
const hashing = 2

func newHasher(cost Cost, rand io.Reader) (*hasher, error) {
	if cost == (Cost{}) {
		cost = defaultCost
	}
	h := &hasher{cost: cost, rand: rand, slots: make(chan struct{}, hashing)}
	h.dummy = encodePHC(cost, make([]byte, saltSize), make([]byte, hashSize))
	if _, _, _, err := parsePHC(h.dummy); err != nil {
		return nil, err
	}
	return h, nil
}

// hash returns the PHC string of a passphrase.
func (h *hasher) hash(ctx context.Context, passphrase string) (string, error) {
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.rand, salt); err != nil {
		return "", fmt.Errorf("making a salt: %w", err)
	}
	sum, err := h.sum(ctx, passphrase, salt, h.cost)
	if err != nil {
		return "", err
	}
	return encodePHC(h.cost, salt, sum), nil
}

// verify reports whether a passphrase is the one of a PHC string. An empty string costs
// as much as any other, and is never it. stale says that the parameters are not those of
// today.
func (h *hasher) verify(ctx context.Context, phc, passphrase string) (ok, stale bool, err error) {
	there := phc != ""
	if !there {
		phc = h.dummy
	}
	cost, salt, want, err := parsePHC(phc)
	if err != nil {
		return false, false, err
	}
	got, err := h.sum(ctx, passphrase, salt, cost)
	if err != nil {
		return false, false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && there, cost != h.cost || len(salt) != saltSize, nil
}

func (h *hasher) sum(ctx context.Context, passphrase string, salt []byte, cost Cost) ([]byte, error) {
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.slots }()
	if h.worked != nil {
		h.worked(cost)
	}
	return argon2.IDKey([]byte(normal(passphrase)), salt, cost.Time, cost.MemoryKiB, cost.Threads, hashSize), nil
}

// normal is a passphrase as it is hashed, whatever keyboard it came from.
func normal(passphrase string) string {
	if len(passphrase) > 4*maxPassphrase {
		// None that long was ever set.
		passphrase = passphrase[:4*maxPassphrase]
	}
	return norm.NFKC.String(passphrase)
}

func encodePHC(c Cost, salt, sum []byte) string {
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, c.MemoryKiB, c.Time, c.Threads, e.EncodeToString(salt), e.EncodeToString(sum))
}

// errPHC: what is stored is no hash of a passphrase.
var errPHC = errors.New("a stored passphrase is damaged")

func parsePHC(s string) (c Cost, salt, sum []byte, err error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, errPHC
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.MemoryKiB, &c.Time, &c.Threads); n != 3 || err != nil ||
		parts[3] != fmt.Sprintf("m=%d,t=%d,p=%d", c.MemoryKiB, c.Time, c.Threads) {
		return c, nil, nil, errPHC
	}
	if c.MemoryKiB < 8*uint32(c.Threads) || c.MemoryKiB > maxMemoryKiB || c.Time == 0 || c.Time > maxTime || c.Threads == 0 || c.Threads > 16 {
		return c, nil, nil, errPHC
	}
	e := base64.RawStdEncoding.Strict()
	if salt, err = e.DecodeString(parts[4]); err != nil || len(salt) < 8 || len(salt) > 64 {
		return c, nil, nil, errPHC
	}
	if sum, err = e.DecodeString(parts[5]); err != nil || len(sum) != hashSize {
		return c, nil, nil, errPHC
	}
	return c, salt, sum, nil
}

//go:embed common.txt
var commonText string

// common are passphrases that are tried first, squeezed. The tables of leaked passwords
// hold few that are this long.
var common = func() map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(commonText) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all[squeeze(line)] = true
		}
	}
	return all
}()

// squeeze drops what people add to make a common phrase look like another one: capitals,
// spaces and signs, and digits at the end.
func squeeze(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, norm.NFKC.String(s))
	if t := strings.TrimRightFunc(s, unicode.IsDigit); t != "" {
		return t
	}
	return s
}

// CheckPassphrase says why a passphrase is not taken; nil where it is. about are words that
// anybody would try for this person.
func CheckPassphrase(passphrase string, about ...string) error {
	n := utf8.RuneCountInString(norm.NFKC.String(passphrase))
	switch {
	case n < minPassphrase:
		return ErrShort
	case n > maxPassphrase || len(passphrase) > 4*maxPassphrase:
		return ErrLong
	}
	plain := squeeze(passphrase)
	if common[plain] || repeats(plain) || runs(plain) {
		return ErrCommon
	}
	for _, word := range about {
		// What is left beside the word must do alone.
		if word = squeeze(word); len(word) >= 3 && strings.Contains(plain, word) && utf8.RuneCountInString(strings.ReplaceAll(plain, word, "")) < 8 {
			return ErrCommon
		}
	}
	return nil
}

// repeats reports whether a text is a few characters over and over.
func repeats(s string) bool {
	r := []rune(s)
	for unit := 1; unit <= 6 && unit*2 <= len(r); unit++ {
		same := true
		for i := unit; i < len(r); i++ {
			same = same && r[i] == r[i-unit]
		}
		if same {
			return true
		}
	}
	return len(r) == 0
}

// runs reports whether a text follows the alphabet, the digits or the keys of a keyboard,
// with a turn or two.
func runs(s string) bool {
	const rows = "abcdefghijklmnopqrstuvwxyz 01234567890 qwertyuiop asdfghjkl zxcvbnm azertyuiop qwertzuiop qazwsxedcrfvtgbyhnujmikolp"
	r := []rune(s)
	breaks := 0
	for i := 1; i < len(r); i++ {
		pair, back := string(r[i-1:i+1]), string([]rune{r[i], r[i-1]})
		if r[i] != r[i-1] && !strings.Contains(rows, pair) && !strings.Contains(rows, back) {
			breaks++
		}
	}
	return len(r) > 0 && breaks*4 < len(r)
}

// token returns n random bytes.
func token(rand io.Reader, n int) ([]byte, error) {
	raw := make([]byte, n)
	if _, err := io.ReadFull(rand, raw); err != nil {
		return nil, fmt.Errorf("making a token: %w", err)
	}
	return raw, nil
}

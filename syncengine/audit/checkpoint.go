package audit

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-response/tandem/syncengine"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// ErrCheckpoint says that something is no checkpoint of the org, or that its signature
// does not fit.
var ErrCheckpoint = errors.New("this is no checkpoint that the organization's key has signed")

// Checkpoint is where the log of an org stood at a time.
type Checkpoint struct {
	Org, Epoch syncengine.ID
	Size       int64
	Root       Hash
	// AtMS is when it was signed, by the server's clock.
	AtMS int64
	// Signature of the org's key over the text.
	Signature []byte
}

// text is what is signed.
func (c *Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\ntime %d\nepoch %s\n", origin(c.Org), c.Size, c.Root, c.AtMS, c.Epoch)
}

func origin(org syncengine.ID) string { return "tandem-audit/" + org.String() }

// Sign signs a checkpoint.
func (c *Checkpoint) Sign(key ed25519.PrivateKey) { c.Signature = ed25519.Sign(key, []byte(c.text())) }

// Signed reports whether the org's key has signed it.
func (c *Checkpoint) Signed(key ed25519.PublicKey) bool {
	return len(key) == ed25519.PublicKeySize && ed25519.Verify(key, []byte(c.text()), c.Signature)
}

// Pack returns the checkpoint without org and epoch: uvarint size ‖ uvarint time, ms ‖
// root ‖ signature.
func (c *Checkpoint) Pack() []byte {
	b := binary.AppendUvarint(nil, uint64(c.Size))
	b = binary.AppendUvarint(b, uint64(c.AtMS))
	return append(append(b, c.Root[:]...), c.Signature...)
}

// Unpack is the inverse of Pack. It does not look at the signature.
func Unpack(org, epoch syncengine.ID, b []byte) (*Checkpoint, error) {
	c := &Checkpoint{Org: org, Epoch: epoch}
	for _, into := range []*int64{&c.Size, &c.AtMS} {
		v, n := binary.Uvarint(b)
		if n <= 0 || int64(v) < 0 {
			return nil, ErrCheckpoint
		}
		*into, b = int64(v), b[n:]
	}
	if len(b) != tlog.HashSize+ed25519.SignatureSize {
		return nil, ErrCheckpoint
	}
	c.Root, c.Signature = Hash(b[:tlog.HashSize]), append([]byte{}, b[tlog.HashSize:]...)
	return c, nil
}

// algEd25519 is the algorithm byte of notes.
const algEd25519 = 1

// keyID is the short id by which a note names a key.
func keyID(name string, key ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n"+string(rune(algEd25519))), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// Note returns the checkpoint as a signed note, for people to keep. Of the keys it names the
// one that has signed.
func (c *Checkpoint) Note(keys ...ed25519.PublicKey) string {
	name := origin(c.Org)
	key := keys[max(slices.IndexFunc(keys, c.Signed), 0)]
	signature := append(binary.BigEndian.AppendUint32(nil, keyID(name, key)), c.Signature...)
	return c.text() + "\n— " + name + " " + base64.StdEncoding.EncodeToString(signature) + "\n"
}

// VerifierKey returns the org's key in the form in which tools for notes take it.
func VerifierKey(org syncengine.ID, key ed25519.PublicKey) string {
	text, err := note.NewEd25519VerifierKey(origin(org), key)
	if err != nil {
		return ""
	}
	return text
}

// ParseNote opens a signed note. The error is ErrCheckpoint where none of the keys has
// signed it.
func ParseNote(text string, org syncengine.ID, keys ...ed25519.PublicKey) (*Checkpoint, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(VerifierKey(org, key))
		if err != nil {
			return nil, ErrCheckpoint
		}
		verifiers = append(verifiers, verifier)
	}
	n, err := note.Open([]byte(text), note.VerifierList(verifiers...))
	if err != nil {
		return nil, ErrCheckpoint
	}
	lines := strings.Split(n.Text, "\n")
	const parts = 6
	if len(lines) != parts {
		return nil, ErrCheckpoint
	}
	c := &Checkpoint{Org: org}
	size, err1 := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := tlog.ParseHash(lines[2])
	at, err3 := strconv.ParseInt(strings.TrimPrefix(lines[3], "time "), 10, 64)
	epoch, err4 := syncengine.ParseID(strings.TrimPrefix(lines[4], "epoch "))
	if errors.Join(err1, err2, err3, err4) != nil || size < 0 {
		return nil, ErrCheckpoint
	}
	c.Size, c.Root, c.AtMS, c.Epoch = size, root, at, epoch
	signature, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || len(signature) != 4+ed25519.SignatureSize {
		return nil, ErrCheckpoint
	}
	if c.Signature = signature[4:]; !slices.ContainsFunc(keys, c.Signed) {
		return nil, ErrCheckpoint
	}
	return c, nil
}

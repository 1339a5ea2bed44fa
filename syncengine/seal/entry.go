package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// Kind says what an entry holds.
type Kind uint8

// The kinds of entry.
const (
	// KindReplica: public key and certificate of a replica, in clear.
	KindReplica Kind = iota + 1
	// KindChange: an own change, sealed.
	KindChange
	// KindWitness: a record as the device last had it, sealed.
	KindWitness
	// KindDraft: typing that no save has made a change of, sealed.
	KindDraft
)

// Sizes of an entry.
const (
	// HeaderSize is the size of the clear header.
	HeaderSize = 108
	// MaxPayload is the largest payload; a header that states more is damage.
	MaxPayload = 4 << 20
	// SignEvery is how many changes written together one signature stands for.
	SignEvery = 16
)

const (
	version    = 1
	flagSigned = 1

	offKind, offClass, offFlags   = 5, 6, 7
	offOrg, offReplica, offNumber = 8, 24, 40
	offExpires, offKey, offEnc    = 48, 56, 64
	offLength, offSum, offHead    = 96, 100, 104
)

// mark begins every entry.
var mark = []byte{0xf4, 'T', 'd', 'S'}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrDamaged says that bytes are no whole entry.
var ErrDamaged = errors.New("the entry of a sealed outbox is damaged")

// KeyID names a public key: the first 8 bytes of its SHA-256.
type KeyID [8]byte

// Header is what everybody may read of an entry.
type Header struct {
	Kind Kind
	// Class of the change; zero for other kinds.
	Class tandemv1.Class
	// Signed: the entry holds a signature.
	Signed bool
	// Org and Replica that it comes from.
	Org, Replica syncengine.ID
	// Number is the op number of a change, the serial number of a witness; of a draft see
	// DraftNumber.
	Number uint64
	// ExpiresMS is when a relay may drop it, ms since the Unix epoch; 0 for never.
	ExpiresMS int64
	// Key it is sealed to, and the session's encapsulated key.
	Key KeyID
	Enc [32]byte
}

// Entry is one entry. It shares memory with the bytes it was read from.
type Entry struct {
	Header
	// Raw is the whole entry, Payload what follows its header.
	Raw, Payload []byte
}

// Parse reads bytes that are one whole entry and nothing else. The error is
// ErrDamaged.
func Parse(raw []byte) (Entry, error) {
	n, ok := measure(raw)
	if !ok || n != len(raw) {
		return Entry{}, ErrDamaged
	}
	return decode(raw)
}

// measure returns the size that a header states for its entry; false where there is
// no header.
func measure(b []byte) (size int, ok bool) {
	if len(b) < HeaderSize || !bytes.HasPrefix(b, mark) {
		return 0, false
	}
	length := binary.BigEndian.Uint32(b[offLength:])
	if length > MaxPayload || crc32.Checksum(b[:offHead], castagnoli) != binary.BigEndian.Uint32(b[offHead:]) {
		return 0, false
	}
	return HeaderSize + int(length), true
}

// decode reads an entry whose header has been measured. An entry of another version
// has kind 0.
func decode(raw []byte) (Entry, error) {
	e := Entry{Raw: raw, Payload: raw[HeaderSize:]}
	if crc32.Checksum(e.Payload, castagnoli) != binary.BigEndian.Uint32(raw[offSum:]) {
		return Entry{}, ErrDamaged
	}
	if raw[4] != version || raw[offFlags]&^flagSigned != 0 {
		return e, nil
	}
	e.Header = header(raw)
	return e, nil
}

// header reads the fields of a measured header of this version.
func header(raw []byte) Header {
	return Header{
		Kind: Kind(raw[offKind]), Class: tandemv1.Class(raw[offClass]), Signed: raw[offFlags]&flagSigned != 0,
		Org: syncengine.ID(raw[offOrg:]), Replica: syncengine.ID(raw[offReplica:]), Number: binary.BigEndian.Uint64(raw[offNumber:]),
		ExpiresMS: int64(binary.BigEndian.Uint64(raw[offExpires:])), Key: KeyID(raw[offKey:]), Enc: [32]byte(raw[offEnc:]),
	}
}

// appendHeader appends a header without its last three fields.
func appendHeader(dst []byte, h *Header) []byte {
	flags := byte(0)
	if h.Signed {
		flags = flagSigned
	}
	dst = append(append(dst, mark...), version, byte(h.Kind), byte(h.Class), flags)
	dst = append(append(dst, h.Org[:]...), h.Replica[:]...)
	dst = binary.BigEndian.AppendUint64(dst, h.Number)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.ExpiresMS))
	return append(append(dst, h.Key[:]...), h.Enc[:]...)
}

// finish puts length and checksums into an entry that begins at a place of dst and
// reaches to its end. Room for them was left.
func finish(dst []byte, at int) []byte {
	entry := dst[at:]
	payload := entry[HeaderSize:]
	binary.BigEndian.PutUint32(entry[offLength:], uint32(len(payload)))
	binary.BigEndian.PutUint32(entry[offSum:], crc32.Checksum(payload, castagnoli))
	binary.BigEndian.PutUint32(entry[offHead:], crc32.Checksum(entry[:offHead], castagnoli))
	return dst
}

// tail is the room for what finish puts in.
var tail [HeaderSize - offLength]byte

// AppendReplica appends the entry that introduces a replica: its public key and its
// certificate.
func AppendReplica(dst []byte, org, replica syncengine.ID, key []byte, certificate string) []byte {
	at := len(dst)
	dst = appendHeader(dst, &Header{Kind: KindReplica, Org: org, Replica: replica})
	dst = append(append(append(dst, tail[:]...), key...), certificate...)
	return finish(dst, at)
}

// Introduction returns key and certificate of an entry that introduces a replica. The
// certificate has not been checked. The error is ErrDamaged.
func (e *Entry) Introduction() (key []byte, certificate string, err error) {
	const size = 32
	if e.Kind != KindReplica || len(e.Payload) < size {
		return nil, "", ErrDamaged
	}
	return e.Payload[:size:size], string(e.Payload[size:]), nil
}

// HeaderOf reads the header at the beginning of b and returns the size of its whole
// entry, without looking at the payload; ok is false where no header of this version
// stands there or the entry is not whole.
func HeaderOf(b []byte) (h Header, size int, ok bool) {
	size, ok = measure(b)
	if !ok || size > len(b) || b[4] != version || b[offFlags]&^flagSigned != 0 {
		return Header{}, 0, false
	}
	return header(b), size, true
}

package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/syncengine"
	"github.com/tandem-response/tandem/syncengine/seal"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write testdata/golden.sealed and its listing anew")

var (
	org     = syncengine.ID{1, 2, 3}
	replica = syncengine.ID{4, 5, 6}
	device  = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
)

func privateKey(tb testing.TB, fill byte) *seal.PrivateKey {
	tb.Helper()
	k, err := seal.NewPrivateKey(bytes.Repeat([]byte{fill}, seal.SeedSize))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func session(tb testing.TB, k *seal.PrivateKey) *seal.Session {
	tb.Helper()
	s, err := seal.NewSession(k.Public(), org, replica)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// changes are n changes of a chain, the last of them signed.
func changes(n int) []*seal.Change {
	var out []*seal.Change
	prev := syncengine.Hash{}
	for i := range n {
		c := &seal.Change{Op: uint64(i + 1), Class: tandemv1.Class(1 + i%3), Prev: prev, Raw: fmt.Appendf(nil, "words of save %d", i+1)}
		prev = syncengine.HashEnvelope(replica, c.Op, c.Prev, sha256.Sum256(c.Raw))
		if i == n-1 {
			c.Signature = syncengine.SignBatch(device, prev)
		}
		out = append(out, c)
	}
	return out
}

func witness() *seal.Witness {
	w := &seal.Witness{Serial: 3, Record: syncengine.ID{9}, Kind: 12, Body: []byte("body"), Stamps: []byte("stamps")}
	w.Hash = syncengine.HashRow(w.Body, w.Stamps)
	w.Signature = seal.SignWitness(device, w.Record, w.Hash)
	return w
}

// sample is a file with one entry of each kind and more than one change.
func sample(tb testing.TB) (file []byte, ends []int) {
	tb.Helper()
	s := session(tb, privateKey(tb, 1))
	file = seal.AppendReplica(nil, org, replica, device[ed25519.SeedSize:], "a.certificate.of-it")
	ends = append(ends, len(file))
	for _, c := range changes(3) {
		file = s.AppendChange(file, c)
		ends = append(ends, len(file))
	}
	file = s.AppendWitness(file, witness())
	return file, append(ends, len(file))
}

// readAll returns the numbers of the entries that a reader finds.
func readAll(tb testing.TB, r io.Reader) (found []string, damage []seal.Damage) {
	tb.Helper()
	reader := seal.NewReader(r)
	for {
		e, _, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return found, reader.Damage()
		}
		if err != nil {
			tb.Fatal(err)
		}
		found = append(found, fmt.Sprintf("%d/%d", e.Kind, e.Number))
	}
}

func TestEverythingComesBack(t *testing.T) {
	t.Parallel()
	file, _ := sample(t)
	opener := seal.NewOpener(privateKey(t, 2), privateKey(t, 1))
	reader := seal.NewReader(iotest.OneByteReader(bytes.NewReader(file)))
	want := changes(3)
	for i := range 5 {
		e, _, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Org != org || e.Replica != replica {
			t.Errorf("entry %d is of %s, %s", i, e.Org, e.Replica)
		}
		switch i {
		case 0:
			key, certificate, err := e.Introduction()
			if err != nil || !bytes.Equal(key, device[ed25519.SeedSize:]) || certificate != "a.certificate.of-it" {
				t.Errorf("introduction: %x %q %v", key, certificate, err)
			}
		case 4:
			got, err := opener.OpenWitness(&e)
			if err != nil {
				t.Fatal(err)
			}
			if w := witness(); got.Record != w.Record || got.Kind != w.Kind || got.Serial != w.Serial || !bytes.Equal(got.Body, w.Body) || !bytes.Equal(got.Stamps, w.Stamps) {
				t.Errorf("got witness %+v", got)
			}
			if !got.Signed(ed25519.PublicKey(device[ed25519.SeedSize:])) {
				t.Error("the witness is not signed")
			}
			got.Body = append(got.Body, 'x')
			if got.Signed(ed25519.PublicKey(device[ed25519.SeedSize:])) {
				t.Error("other words pass under the signature")
			}
		default:
			got, err := opener.OpenChange(&e)
			if err != nil {
				t.Fatal(err)
			}
			w := want[i-1]
			if got.Op != w.Op || got.Class != w.Class || got.Prev != w.Prev || !bytes.Equal(got.Raw, w.Raw) || !bytes.Equal(got.Signature, w.Signature) {
				t.Errorf("got change %+v, want %+v", got, w)
			}
			if e.Signed != (len(w.Signature) > 0) {
				t.Errorf("change %d: signed is %v", w.Op, e.Signed)
			}
		}
	}
	if _, _, err := reader.Next(); !errors.Is(err, io.EOF) || len(reader.Damage()) > 0 {
		t.Errorf("at the end: %v, damage %v", err, reader.Damage())
	}
	if bytes.Contains(file, []byte("words of save")) {
		t.Error("words stand in the file in clear")
	}
}

// Two sessions share nothing, and a session that is set back seals other words under
// another nonce.
func TestNonces(t *testing.T) {
	t.Parallel()
	s := session(t, privateKey(t, 1))
	c := changes(1)[0]
	one := s.AppendChange(nil, c)
	other := *c
	other.Raw = []byte("words that were typed instead")
	two := s.AppendChange(nil, &other)
	if bytes.Equal(one[seal.HeaderSize:seal.HeaderSize+12], two[seal.HeaderSize:seal.HeaderSize+12]) {
		t.Error("two changes under one op share a nonce")
	}
	if again := s.AppendChange(nil, c); !bytes.Equal(one, again) {
		t.Error("the same change is sealed in two ways")
	}
	if bytes.Equal(session(t, privateKey(t, 1)).AppendChange(nil, c)[64:], one[64:]) {
		t.Error("two sessions share a key")
	}
}

func TestWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	file, ends := sample(t)
	raw := file[ends[1]:ends[2]]
	open := func(raw []byte, keys ...*seal.PrivateKey) error {
		e, err := seal.Parse(raw)
		if err != nil {
			return err
		}
		_, err = seal.NewOpener(keys...).OpenChange(&e)
		return err
	}
	if err := open(raw, privateKey(t, 1)); err != nil {
		t.Fatal(err)
	}
	if err := open(raw, privateKey(t, 2)); !errors.Is(err, seal.ErrNoKey) {
		t.Errorf("another key: got %v", err)
	}
	for name, change := range map[string]func([]byte){
		"another org":     func(b []byte) { b[8] ^= 1 },
		"another replica": func(b []byte) { b[24] ^= 1 },
		"another op":      func(b []byte) { b[47] ^= 1 },
		"another class":   func(b []byte) { b[6] ^= 1 },
		"another session": func(b []byte) { b[70] ^= 1 },
		"other words":     func(b []byte) { b[len(b)-20] ^= 1 },
	} {
		b := bytes.Clone(raw)
		change(b)
		if err := open(b, privateKey(t, 1)); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%s: got %v, want damage", name, err)
		}
		if err := open(fit(b), privateKey(t, 1)); !errors.Is(err, seal.ErrForged) {
			t.Errorf("%s, checksums made to fit: got %v", name, err)
		}
	}
	// A relay sets the time until which it carries an entry.
	b := bytes.Clone(raw)
	binary.BigEndian.PutUint64(b[48:], 1_800_000_000_000)
	if err := open(fit(b), privateKey(t, 1)); err != nil {
		t.Errorf("an entry with a time set: %v", err)
	}
	for _, bad := range [][]byte{nil, raw[:seal.HeaderSize-1], raw[:len(raw)-1], append(bytes.Clone(raw), 0)} {
		if _, err := seal.Parse(bad); !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("%d bytes: got %v", len(bad), err)
		}
	}
	if _, err := seal.NewSession([]byte("short"), org, replica); !errors.Is(err, seal.ErrKey) {
		t.Errorf("a short public key: got %v", err)
	}
	if _, err := seal.NewSession(make([]byte, 32), org, replica); !errors.Is(err, seal.ErrKey) {
		t.Errorf("a public key of low order: got %v", err)
	}
}

// fit puts fitting checksums into an entry, as the package documentation says.
func fit(b []byte) []byte {
	b = bytes.Clone(b)
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.BigEndian.PutUint32(b[100:], crc32.Checksum(b[108:], table))
	binary.BigEndian.PutUint32(b[104:], crc32.Checksum(b[:104], table))
	return b
}

// However a file is cut or spoiled, what was not hit is read, and what was is
// reported.
func TestDamageCostsWhatItHits(t *testing.T) {
	t.Parallel()
	file, ends := sample(t)
	all, damage := readAll(t, bytes.NewReader(file))
	if len(damage) > 0 || len(all) != len(ends) {
		t.Fatalf("the whole file: got %v, damage %v", all, damage)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(file)
		hit := map[int]bool{}
		mark := func(from, to int) {
			begin := 0
			for i, end := range ends {
				if from < end && to > begin {
					hit[i] = true
				}
				begin = end
			}
		}
		for range rapid.IntRange(0, 3).Draw(t, "spots") {
			from := rapid.IntRange(0, len(b)-1).Draw(t, "from")
			to := min(len(b), from+rapid.IntRange(1, 200).Draw(t, "length"))
			for i := from; i < to; i++ {
				b[i] ^= byte(rapid.IntRange(1, 255).Draw(t, "xor"))
			}
			mark(from, to)
		}
		cut := rapid.IntRange(0, len(b)).Draw(t, "cut")
		mark(cut, len(b)+1)
		var want []string
		for i, name := range all {
			if !hit[i] {
				want = append(want, name)
			}
		}
		reader := seal.NewReader(bytes.NewReader(b[:cut]))
		var got []string
		read := int64(0)
		for {
			e, _, err := reader.Next()
			if err != nil {
				break
			}
			read += int64(len(e.Raw))
			got = append(got, fmt.Sprintf("%d/%d", e.Kind, e.Number))
		}
		// Bytes that were spoiled twice may be what they were.
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Fatalf("%s is lost; got %v", name, got)
			}
		}
		for _, d := range reader.Damage() {
			read += d.Length
			if d.Tail != (d.Offset+d.Length == int64(cut)) {
				t.Fatalf("damage %+v of a file of %d bytes", d, cut)
			}
		}
		if read != int64(cut) {
			t.Fatalf("entries and damage are %d bytes of %d", read, cut)
		}
	})
}

// A failing disk is not taken for the end of the file.
func TestReaderFails(t *testing.T) {
	t.Parallel()
	file, _ := sample(t)
	broken := errors.New("the disk is gone")
	r := seal.NewReader(io.MultiReader(bytes.NewReader(file[:400]), iotest.ErrReader(broken)))
	for {
		_, _, err := r.Next()
		if err == nil {
			continue
		}
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		return
	}
}

// The golden file was written once; every version opens it and reads the same.
func TestGolden(t *testing.T) {
	t.Parallel()
	name, listing := filepath.Join("testdata", "golden.sealed"), filepath.Join("testdata", "golden.txt")
	if *update {
		file, _ := sample(t)
		if err := os.WriteFile(name, file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	k := privateKey(t, 1)
	id := k.ID()
	fmt.Fprintf(&got, "seed %x\npublic %x\nkey %x\n", bytes.Repeat([]byte{1}, seal.SeedSize), k.Public(), id[:])
	opener, reader := seal.NewOpener(k), seal.NewReader(bytes.NewReader(file))
	for {
		e, at, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "at %d kind %d class %d number %d signed %v org %s replica %s\n", at, e.Kind, e.Class, e.Number, e.Signed, e.Org, e.Replica)
		switch e.Kind {
		case seal.KindReplica:
			key, certificate, err := e.Introduction()
			fmt.Fprintf(&got, "  key %x certificate %s %v\n", key, certificate, err)
		case seal.KindChange:
			c, err := opener.OpenChange(&e)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "  prev %s signature %x raw %s\n", c.Prev, c.Signature, hex.EncodeToString(c.Raw))
		case seal.KindWitness:
			w, err := opener.OpenWitness(&e)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&got, "  record %s kind %d hash %016x signature %x stamps %x body %x\n", w.Record, w.Kind, uint64(w.Hash), w.Signature, w.Stamps, w.Body)
		}
	}
	if *update {
		if err := os.WriteFile(listing, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(listing)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the golden file reads as\n%s\nwant\n%s", got.Bytes(), want)
	}
}

// FuzzReader: no file makes the reader panic, loop or read past its bounds, and what
// it returns is a whole entry.
func FuzzReader(f *testing.F) {
	file, ends := sample(f)
	f.Add(file)
	f.Add(file[:ends[2]-1])
	f.Add(append(bytes.Clone(file[:ends[1]-5]), file...))
	f.Add([]byte("\xf4TdS"))
	opener := seal.NewOpener(privateKey(f, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		defer need.Brief(t)()
		total := int64(0)
		reader := seal.NewReader(bytes.NewReader(b))
		for {
			e, at, err := reader.Next()
			if err != nil {
				break
			}
			total += int64(len(e.Raw))
			if !bytes.Equal(b[at:at+int64(len(e.Raw))], e.Raw) {
				t.Fatal("an entry is not what stands in the file")
			}
			again, err := seal.Parse(e.Raw)
			if err != nil || again.Header != e.Header {
				t.Fatalf("read alone it is %+v, %v", again.Header, err)
			}
			_, _, _ = e.Introduction()
			_, _ = opener.OpenChange(&e)
			_, _ = opener.OpenWitness(&e)
		}
		for _, d := range reader.Damage() {
			total += d.Length
		}
		if total != int64(len(b)) {
			t.Fatalf("entries and damage are %d bytes of %d", total, len(b))
		}
	})
}

func BenchmarkAppendChange(b *testing.B) {
	s := session(b, privateKey(b, 1))
	c := &seal.Change{Op: 1, Raw: bytes.Repeat([]byte{'x'}, 700)}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = s.AppendChange(dst[:0], c)
	}
}

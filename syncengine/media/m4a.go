package media

import (
	"bytes"
	"encoding/binary"
)

// m4aBrands are those by which programs that record sound name the format (ISO 14496-12).
var m4aBrands = map[string]bool{
	"M4A ": true, "mp41": true, "mp42": true, "isom": true, "iso2": true, "iso4": true, "iso5": true, "iso6": true,
}

// boxKept are the boxes that make the sound, by the one that they stand in. Those that are
// listed as keys are looked into; others stay as they are.
var boxKept = map[string][]string{
	"":     {"ftyp", "moov", "mdat", "moof", "mfra", "sidx", "styp"},
	"moov": {"mvhd", "trak", "mvex", "iods"},
	"trak": {"tkhd", "edts", "mdia"},
	"mdia": {"mdhd", "hdlr", "minf"},
	"minf": {"smhd", "dinf", "stbl", "hdlr"},
	"stbl": {"stsd", "stts", "ctts", "stsc", "stsz", "stz2", "stco", "co64", "stss", "sbgp", "sgpd"},
	"moof": {"mfhd", "traf"},
	"traf": {"tfhd", "tfdt", "trun", "sbgp", "sgpd"},
}

func isM4A(b []byte) bool {
	return len(b) >= 12 && string(b[4:8]) == "ftyp" && m4aBrands[string(b[8:12])]
}

// cleanM4A returns a recording without what is not the sound: tags, a picture, where and
// when it was made. What goes is filled with zeros, for the places of the rest must stay.
func cleanM4A(raw []byte) ([]byte, error) {
	m := &m4a{b: bytes.Clone(raw)}
	if err := m.boxes(0, len(m.b), ""); err != nil {
		return nil, err
	}
	if m.sounds == 0 || !m.data {
		return nil, ErrDamaged
	}
	return m.b, nil
}

type m4a struct {
	b      []byte
	sounds int
	data   bool
}

// boxes goes through the boxes of one.
func (m *m4a) boxes(at, end int, in string) error {
	for at < end {
		if end-at < 8 {
			return ErrDamaged
		}
		size, head := int64(binary.BigEndian.Uint32(m.b[at:])), 8
		switch {
		case size == 1 && end-at >= 16:
			size, head = int64(min(binary.BigEndian.Uint64(m.b[at+8:]), MaxBytes+1)), 16
		case size == 0 && in == "":
			size = int64(end - at)
		}
		if size < int64(head) || size > int64(end-at) {
			return ErrDamaged
		}
		name := string(m.b[at+4 : at+8])
		if err := m.box(name, in, at, at+head, at+int(size)); err != nil {
			return err
		}
		at += int(size)
	}
	return nil
}

func (m *m4a) box(name, in string, at, from, end int) error {
	kept := false
	for _, k := range boxKept[in] {
		kept = kept || k == name
	}
	if !kept {
		copy(m.b[at+4:], "free")
		clear(m.b[from:end])
		return nil
	}
	if boxKept[name] != nil {
		return m.boxes(from, end, name)
	}
	body := m.b[from:end]
	switch name {
	case "mvhd", "tkhd", "mdhd":
		// A version and flags, and when it was made and changed.
		size := 4
		if len(body) > 0 && body[0] == 1 {
			size = 8
		}
		if len(body) < 4+2*size {
			return ErrDamaged
		}
		clear(body[4 : 4+2*size])
	case "hdlr":
		const sort, named = 8, 24
		if len(body) < named {
			return ErrDamaged
		}
		if in == "mdia" {
			if string(body[sort:sort+4]) != "soun" {
				// A film, or places on the way.
				return ErrType
			}
			m.sounds++
		}
		clear(body[named:])
	case "mdat":
		m.data = true
	}
	return nil
}

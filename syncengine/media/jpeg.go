package media

import (
	"bytes"
	"encoding/binary"
)

// Markers of a JPEG file (ITU-T T.81, table B.1).
const (
	markSOF0 = 0xc0
	markSOF2 = 0xc2
	markDHT  = 0xc4
	markRST0 = 0xd0
	markRST7 = 0xd7
	markEOI  = 0xd9
	markSOS  = 0xda
	markDQT  = 0xdb
	markDRI  = 0xdd
	markAPP0 = 0xe0
	markAPP1 = 0xe1
	markAdob = 0xee
)

// jfif is the segment that says that colours are as they are everywhere, without a small
// copy (ITU-T T.871, 10.1).
var jfif = []byte{0xff, markAPP0, 0, 16, 'J', 'F', 'I', 'F', 0, 1, 2, 0, 0, 1, 0, 1, 0, 0}

// cleanJPEG returns a JPEG file without what is not the picture, and which way up it is.
func cleanJPEG(raw []byte) (clean []byte, turned uint16, err error) {
	clean = append(make([]byte, 0, len(raw)), raw[:2]...)
	turned = 1
	var rest []byte
	jfifSeen, framed, scanned := false, false, false
	var adobe []byte
	for at := 2; ; {
		// A marker may have fill bytes before it.
		if at >= len(raw) || raw[at] != 0xff {
			return nil, 0, ErrDamaged
		}
		for at < len(raw) && raw[at] == 0xff {
			at++
		}
		if at >= len(raw) {
			return nil, 0, ErrDamaged
		}
		mark := raw[at]
		at++
		if mark == markEOI {
			break
		}
		if at+2 > len(raw) {
			return nil, 0, ErrDamaged
		}
		size := int(binary.BigEndian.Uint16(raw[at:]))
		if size < 2 || at+size > len(raw) {
			return nil, 0, ErrDamaged
		}
		body := raw[at+2 : at+size]
		segment := append([]byte{0xff, mark}, raw[at:at+size]...)
		at += size
		switch {
		case mark >= markSOF0 && mark <= markSOF2:
			if framed {
				return nil, 0, ErrDamaged
			}
			framed = true
			rest = append(rest, segment...)
		case mark == markDHT, mark == markDQT, mark == markDRI:
			rest = append(rest, segment...)
		case mark == markSOS:
			if !framed {
				return nil, 0, ErrDamaged
			}
			scanned = true
			end := scanEnd(raw, at)
			rest = append(append(rest, segment...), raw[at:end]...)
			at = end
		case mark == markAPP0:
			jfifSeen = jfifSeen || bytes.HasPrefix(body, []byte("JFIF\x00"))
		case mark == markAPP1:
			if o := exifOrientation(body); o != 0 && turned == 1 {
				turned = o
			}
		case mark == markAdob:
			// How colours were transformed: without it some pictures show wrong ones.
			if len(body) >= 12 && bytes.HasPrefix(body, []byte("Adobe")) {
				adobe = []byte{0xff, markAdob, 0, 14, 'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, body[11]}
			}
		case mark > markAPP1 && mark <= 0xef, mark == 0xfe:
			// What programs note for themselves, and comments.
		default:
			return nil, 0, ErrDamaged
		}
	}
	if !scanned {
		return nil, 0, ErrDamaged
	}
	if jfifSeen {
		clean = append(clean, jfif...)
	}
	if turned > 1 {
		exif := append([]byte("Exif\x00\x00"), tiffOrientation(turned)...)
		clean = append(binary.BigEndian.AppendUint16(append(clean, 0xff, markAPP1), uint16(2+len(exif))), exif...)
	}
	clean = append(append(clean, adobe...), rest...)
	return append(clean, 0xff, markEOI), turned, nil
}

// scanEnd returns where the coded data of a scan ends that begins at: the next marker that
// is no restart. A zero after 0xff is data.
func scanEnd(raw []byte, at int) int {
	for at < len(raw) {
		i := bytes.IndexByte(raw[at:], 0xff)
		if i < 0 || at+i+1 >= len(raw) {
			return len(raw)
		}
		at += i
		if next := raw[at+1]; next != 0 && (next < markRST0 || next > markRST7) {
			return at
		}
		at += 2
	}
	return len(raw)
}

// tagOrientation is the tag of the orientation, tiffShort the type of its value.
const tagOrientation, tiffShort = 0x0112, 3

// tiffOrientation is a TIFF file of that tag alone.
func tiffOrientation(turned uint16) []byte {
	b := []byte("MM\x00\x2a\x00\x00\x00\x08\x00\x01")
	b = binary.BigEndian.AppendUint16(b, tagOrientation)
	b = binary.BigEndian.AppendUint16(b, tiffShort)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint16(b, turned)
	return append(b, 0, 0, 0, 0, 0, 0)
}

// exifOrientation reads the orientation of an EXIF segment, 0 where it says none.
func exifOrientation(body []byte) uint16 {
	tiff, ok := bytes.CutPrefix(body, []byte("Exif\x00\x00"))
	if !ok {
		return 0
	}
	return orientation(tiff)
}

// orientation reads the orientation of a TIFF file, 0 where it says none.
func orientation(tiff []byte) uint16 {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.BigEndian
	switch string(tiff[:4]) {
	case "MM\x00\x2a":
	case "II\x2a\x00":
		order = binary.LittleEndian
	default:
		return 0
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 0
	}
	entries := int64(order.Uint16(tiff[at:]))
	for i := range entries {
		const size = 12
		e := at + 2 + i*size
		if e+size > int64(len(tiff)) {
			return 0
		}
		entry := tiff[e : e+size]
		if order.Uint16(entry) != tagOrientation {
			continue
		}
		if v := order.Uint16(entry[8:]); order.Uint16(entry[2:]) == tiffShort && v >= 1 && v <= 8 {
			return v
		}
		return 0
	}
	return 0
}

package media

import (
	"encoding/binary"
	"hash/crc32"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

// pngKept are the chunks that make the picture: what must be there, how transparent it
// is, and how its colours are to be read. Their largest sizes, 0 for any.
var pngKept = map[string]int{
	"IHDR": 13, "PLTE": 768, "IDAT": 0, "IEND": 0, "tRNS": 256, "gAMA": 4, "cHRM": 32, "sRGB": 1,
}

// cleanPNG returns a PNG file without what is not the picture, and which way up it is.
func cleanPNG(raw []byte) (clean []byte, turned uint16, err error) {
	clean = append(make([]byte, 0, len(raw)), pngSignature...)
	turned = 1
	var rest []byte
	seen := map[string]bool{}
	for at := len(pngSignature); !seen["IEND"]; {
		const frame = 12
		if at+frame > len(raw) {
			return nil, 0, ErrDamaged
		}
		size := int64(binary.BigEndian.Uint32(raw[at:]))
		if size > int64(len(raw)-at-frame) {
			return nil, 0, ErrDamaged
		}
		end := at + frame + int(size)
		chunk := raw[at:end]
		at = end
		name, data := string(chunk[4:8]), chunk[8:len(chunk)-4]
		if crc32.ChecksumIEEE(chunk[4:len(chunk)-4]) != binary.BigEndian.Uint32(chunk[len(chunk)-4:]) {
			return nil, 0, ErrDamaged
		}
		if name == "eXIf" && turned == 1 {
			turned = max(orientation(data), 1)
		}
		limit, kept := pngKept[name]
		switch {
		case !seen["IHDR"] && name != "IHDR", name != "IDAT" && kept && seen[name], name == "IEND" && (size != 0 || !seen["IDAT"]):
			return nil, 0, ErrDamaged
		case limit > 0 && len(data) > limit:
			return nil, 0, ErrDamaged
		case kept && name == "IHDR":
			clean = append(clean, chunk...)
		case kept:
			rest = append(rest, chunk...)
		case name[0]&0x20 == 0:
			// A chunk that is not known and that the picture cannot be read without.
			return nil, 0, ErrDamaged
		}
		seen[name] = true
	}
	if turned > 1 {
		clean = appendChunk(clean, "eXIf", tiffOrientation(turned))
	}
	return append(clean, rest...), turned, nil
}

func appendChunk(b []byte, name string, data []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	from := len(b)
	b = append(append(b, name...), data...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:]))
}

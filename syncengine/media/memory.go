package media

import (
	"bytes"
	"encoding/binary"
)

// memory is about how many bytes decoding a picture takes, by what it says of itself. Its
// size was looked at first.
func memory(kind string, b []byte) int64 {
	if kind == PNG {
		return memoryPNG(b)
	}
	return memoryJPEG(b)
}

// memoryPNG: the decoder makes one image, and one more for each pass of an interlaced one.
func memoryPNG(b []byte) int64 {
	const wide, high, depth, interlaced = 16, 20, 24, 28
	if len(b) <= interlaced {
		return 0
	}
	size := int64(binary.BigEndian.Uint32(b[wide:])) * int64(binary.BigEndian.Uint32(b[high:])) * 4
	if b[depth] == 16 {
		size *= 2
	}
	if b[interlaced] != 0 {
		size *= 2
	}
	return size
}

// memoryJPEG: a byte for each sample; for one that comes in several scans four more, in
// which its coefficients wait; and four for each pixel whose colours are not luma and
// chroma, for they are turned into others.
func memoryJPEG(b []byte) int64 {
	const head, component = 8, 3
	turned := false
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		mark, end := b[at+1], at+2+int(binary.BigEndian.Uint16(b[at+2:]))
		body := b[min(at+4, len(b)):min(max(end, at+4), len(b))]
		switch {
		case mark == markAdob && bytes.HasPrefix(body, []byte("Adobe")) && len(body) >= 12:
			turned = body[11] == 0
		case mark >= markSOF0 && mark <= markSOF2:
			if len(body) < head-2 || len(body) < head-2+component*int(body[5]) {
				return 0
			}
			pixels := int64(binary.BigEndian.Uint16(body[1:])) * int64(binary.BigEndian.Uint16(body[3:]))
			sum, most, n := int64(0), int64(1), int64(body[5])
			for i := range int(n) {
				c := body[head-2+component*i:]
				samples := int64(c[1]>>4) * int64(c[1]&15)
				sum, most = sum+samples, max(most, samples)
				turned = turned || c[0] == 'R'
			}
			size := pixels * sum / most
			if mark == markSOF2 {
				size *= 5
			}
			if n == 4 || n == 3 && turned {
				size += 4 * pixels
			}
			return size
		}
		at = end
	}
	return 0
}

package web

import (
	"fmt"
	"image"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quiet is the light border that a QR code needs to be found, in modules.
const quiet = 4

// QR draws a text as a QR code with its border, a module as so many pixels. The error says
// that the text is too long for one.
func QR(text string, pixels int) (*image.Paletted, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return nil, fmt.Errorf("drawing a QR code: %w", err)
	}
	modules := code.Bounds().Dx()
	out := image.NewPaletted(image.Rect(0, 0, pixels*(modules+2*quiet), pixels*(modules+2*quiet)), color.Palette{color.White, color.Black})
	for y := range pixels * modules {
		for x := range pixels * modules {
			if code.At(x/pixels, y/pixels) == color.Black {
				out.SetColorIndex(x+pixels*quiet, y+pixels*quiet, 1)
			}
		}
	}
	return out, nil
}

// TextQR writes a text as a QR code for a terminal that shows light on dark: two rows of
// modules are a line.
func TextQR(text string) (string, error) {
	picture, err := QR(text, 1)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	size := picture.Bounds().Dx()
	for y := 0; y < size; y += 2 {
		for x := range size {
			light, below := picture.ColorIndexAt(x, y) == 0, y+1 < size && picture.ColorIndexAt(x, y+1) == 0
			switch {
			case light && below:
				b.WriteRune('█')
			case light:
				b.WriteRune('▀')
			case below:
				b.WriteRune('▄')
			default:
				b.WriteRune(' ')
			}
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}

package web

import (
	"strings"
	"testing"

	"github.com/boombuler/barcode/qr"
)

// A QR code has its border, light, and inside it the modules of the text, on a page and on a
// terminal.
func TestQR(t *testing.T) {
	t.Parallel()
	const text = "https://tandem.example.org/#enroll=K7QF-2M9T-XXXX"
	want, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	const pixels = 3
	modules := want.Bounds().Dx()
	picture, err := QR(text, pixels)
	if err != nil || picture.Bounds().Dx() != pixels*(modules+8) || picture.Bounds().Dy() != pixels*(modules+8) {
		t.Fatalf("got %v, %v, want %d modules and a border of 4", picture.Bounds(), err, modules)
	}
	drawn, err := TextQR(text)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(drawn, "\n"), "\n")
	if len(lines) != (modules+9)/2 {
		t.Fatalf("%d lines for %d modules", len(lines), modules)
	}
	dark := 0
	for y := -4; y < modules+4; y++ {
		row := []rune(lines[(y+4)/2])
		for x := -4; x < modules+4; x++ {
			module := false
			if x >= 0 && y >= 0 && x < modules && y < modules {
				r, _, _, _ := want.At(x, y).RGBA()
				module = r == 0
			}
			if module {
				dark++
			}
			for _, d := range []int{0, pixels - 1} {
				r, _, _, _ := picture.At(pixels*(x+4)+d, pixels*(y+4)+d).RGBA()
				if (r == 0) != module {
					t.Fatalf("the picture differs at %d, %d", x, y)
				}
			}
			light := row[x+4] == '█' || row[x+4] == '▀' && (y+4)%2 == 0 || row[x+4] == '▄' && (y+4)%2 == 1
			if light == module {
				t.Fatalf("the terminal differs at %d, %d", x, y)
			}
		}
	}
	if dark < modules*modules/4 {
		t.Errorf("%d of %d modules are dark", dark, modules*modules)
	}
	if _, err := QR(strings.Repeat("x", 5000), 1); err == nil {
		t.Error("a text that fits in no code is drawn")
	}
}

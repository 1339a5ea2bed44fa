package main

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-response/tandem/internal/need"
	"github.com/tandem-response/tandem/web"
)

// TestScanner lets a scanner, zbar, read what an admin is shown: the terminal's QR code as a
// terminal draws it, light on dark, and the picture that the console has. It reads the
// invitation, which enrols a device.
func TestScanner(t *testing.T) {
	t.Parallel()
	zbar := need.Program(t, "zbarimg", "apt-get install zbar-tools")
	o := newOffice(t)
	shown := must(t, "", "admin", "code", "--data", o.dir, "--staff", o.clinician.String(), "--label", "Car 12 laptop", "--qr", o.url)
	drawn := onTerminal(shown)
	if drawn.Bounds().Dx() < 30 {
		t.Fatalf("no QR code is drawn:\n%s", shown)
	}
	read := scanned(t, zbar, drawn)
	if !strings.HasPrefix(read, o.url+"/#enroll=") {
		t.Fatalf("the scanner reads %q off a terminal", read)
	}
	store := filepath.Join(t.TempDir(), "car12")
	must(t, read+"\n", "enroll", "--store", store)
	must(t, "", "sync", "--store", store)

	issued := struct{ Invitation string }{}
	if err := json.Unmarshal([]byte(must(t, "", "admin", "code", "--data", o.dir, "--staff", o.clinician.String(), "--label", "Car 13 laptop", "--qr", o.url, "--json")), &issued); err != nil {
		t.Fatal(err)
	}
	picture, err := web.QR(issued.Invitation, 6)
	if err != nil {
		t.Fatal(err)
	}
	if read := scanned(t, zbar, picture); read != issued.Invitation {
		t.Errorf("the scanner reads %q off the console's picture of %q", read, issued.Invitation)
	}
}

// onTerminal is a QR code as a terminal shows it, whose ground is dark: a character is two
// modules, one above the other.
func onTerminal(text string) *image.Gray {
	var rows [][]bool
	for line := range strings.Lines(text) {
		if !strings.ContainsAny(line, "█▀▄") {
			continue
		}
		var upper, lower []bool
		for _, r := range strings.TrimRight(line, "\n") {
			upper, lower = append(upper, r == '█' || r == '▀'), append(lower, r == '█' || r == '▄')
		}
		rows = append(rows, upper, lower)
	}
	const module, ground = 6, 8
	side := (len(rows) + 2*ground) * module
	out := image.NewGray(image.Rect(0, 0, side, side))
	for y, row := range rows {
		for x, light := range row {
			for i := range module * module {
				if light {
					out.SetGray((x+ground)*module+i%module, (y+ground)*module+i/module, color.Gray{Y: 255})
				}
			}
		}
	}
	return out
}

// scanned is what the scanner reads off a picture.
func scanned(t *testing.T, zbar string, picture image.Image) string {
	t.Helper()
	var encoded bytes.Buffer
	if err := png.Encode(&encoded, picture); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "code.png")
	if err := os.WriteFile(file, encoded.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, zbar, "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", file).Output()
	if err != nil {
		t.Fatalf("the scanner reads nothing: %v", err)
	}
	return strings.TrimRight(string(out), "\n")
}

//go:build !plantedbugs

package planted

import "testing"

// This compiles only while On is a constant.
const on = On

func TestNothingIsPlanted(t *testing.T) {
	t.Parallel()
	for b := range count {
		if on || Is(b) {
			t.Errorf("bug %d is part of a build without the tag", b)
		}
	}
}

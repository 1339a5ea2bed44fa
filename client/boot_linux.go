package client

import (
	"encoding/hex"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// systemBoot identifies the boot of this machine and reads the time since, sleep
// included. ok is false where the system does not tell.
func systemBoot() (boot func() ([]byte, time.Duration), ok bool) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, false
	}
	id, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || len(id) < bootSize {
		return nil, false
	}
	id = id[:bootSize]
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return nil, false
	}
	return func() ([]byte, time.Duration) {
		var ts unix.Timespec
		// It has answered before.
		_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
		return id, time.Duration(ts.Nano())
	}, true
}

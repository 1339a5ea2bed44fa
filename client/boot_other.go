//go:build !linux

package client

import "time"

// systemBoot identifies the boot of this machine and reads the time since, sleep
// included. ok is false where the system does not tell.
func systemBoot() (boot func() ([]byte, time.Duration), ok bool) { return nil, false }

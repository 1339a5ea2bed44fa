package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tandem-response/tandem/server"
	"github.com/tandem-response/tandem/server/store"
	"github.com/tandem-response/tandem/syncengine"
)

// errOpsOpen keeps what asks for no sign-in from the network.
var errOpsOpen = errors.New("--ops-listen asks for no sign-in, so it is for loopback: listen on 127.0.0.1, or set --ops-beyond-loopback where only operators reach that network")

// released is before any clock that is set.
var released = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// problems are what is wrong with the settings, a sentence each, and the certificate
// where there is one.
func (c *serveCmd) problems() (found []error, cert *certificate) {
	say := func(format string, args ...any) { found = append(found, fmt.Errorf(format, args...)) }
	if max(c.MinWriteSchema, c.MinReadSchema) > syncengine.Schema {
		say("no app has a schema version beyond this server's own, %d: --min-write-schema and --min-read-schema may be that at most", syncengine.Schema)
	}
	cert, err := c.certificate()
	if err != nil {
		found = append(found, err)
	} else if cert != nil {
		leaf := cert.current.Load().Leaf
		switch now := time.Now(); {
		case now.Before(released):
			say("this machine's clock shows %s: set it first, devices take their time from the server", now.UTC().Format(time.DateOnly))
		case leaf != nil && now.After(leaf.NotAfter):
			say("the certificate was good until %s: renew it", leaf.NotAfter.UTC().Format(time.DateOnly))
		}
		if info, err := os.Stat(c.TLSKey); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
			say("every user of this machine can read the private key %s: chmod 600 it", c.TLSKey)
		}
	}
	if at, err := net.ResolveTCPAddr("tcp", c.Listen); err != nil {
		say("--listen %s is no address: want host:port, as in 127.0.0.1:8440", c.Listen)
	} else if c.TLSCert == "" && !server.Loopback(at) {
		found = append(found, server.ErrPlain)
	}
	if _, err := c.proxyKeys(); err != nil {
		found = append(found, err)
	}
	if address, err := c.address(); err != nil {
		found = append(found, err)
	} else if err := store.CheckAddress(address); err != nil {
		found = append(found, fmt.Errorf("--database: %w", err))
	}
	if c.OpsListen != "" {
		if at, err := net.ResolveTCPAddr("tcp", c.OpsListen); err != nil {
			say("--ops-listen %s is no address: want host:port, as in 127.0.0.1:8441", c.OpsListen)
		} else if !c.OpsBeyondLoopback && !server.Loopback(at) {
			found = append(found, errOpsOpen)
		}
	}
	if c.Origin != "" {
		u, err := url.Parse(c.Origin)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			say("--origin wants scheme and host alone, as in https://tandem.example.org")
		}
	}
	if err := c.admission().Check(); err != nil {
		found = append(found, err)
	}
	if c.Queue == 0 || c.Working == 0 || c.DeviceRequests == 0 || c.OpenRequests == 0 || c.Grace <= 0 || c.Linger < 0 {
		say("--queue, --working, --device-requests, --open-requests and --grace are more than 0, and --linger is 0 or more")
	}
	if _, err := c.people(); err != nil {
		found = append(found, err)
	}
	if info, err := os.Stat(c.OIDCSecretFile); c.OIDCSecretFile != "" && err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o007 != 0 {
		say("every user of this machine can read the secret in %s: chmod 600 it", c.OIDCSecretFile)
	}
	if err := tracesProblem(); err != nil {
		found = append(found, err)
	}
	return found, cert
}

// dataProblem says why the data directory cannot be used.
func (c *serveCmd) dataProblem() error {
	dir := c.Data
	info, err := os.Stat(dir)
	for errors.Is(err, os.ErrNotExist) && filepath.Dir(dir) != dir {
		// It will be made.
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil {
		return fmt.Errorf("the data directory %s: %w", c.Data, err)
	}
	if !info.IsDir() {
		return fmt.Errorf("--data %s: %s is a file, name a directory", c.Data, dir)
	}
	probe, err := os.CreateTemp(dir, ".check-*")
	if err != nil {
		return fmt.Errorf("the data directory %s cannot be written by this user: %w", c.Data, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// check prints the settings and what is wrong with them.
func (c *serveCmd) check(a *app) error {
	found, _ := c.problems()
	if err := c.dataProblem(); err != nil {
		found = append(found, err)
	}
	var notes []string
	for _, address := range []string{c.Listen, c.OpsListen} {
		if address == "" || len(found) > 0 {
			continue
		}
		l, err := c.listen(a.ctx, address)
		switch {
		case err == nil:
			_ = l.Close()
		case errors.Is(err, syscall.EADDRINUSE):
			notes = append(notes, fmt.Sprintf("%s is in use now: by the server that runs, or by another program", address))
		default:
			found = append(found, err)
		}
	}
	names, values := c.settings()
	if c.JSON {
		words := []string{}
		for _, p := range found {
			words = append(words, p.Error())
		}
		all := map[string]string{}
		for i, name := range names {
			all[name] = values[i]
		}
		if err := a.json(map[string]any{"ok": len(found) == 0, "problems": words, "notes": notes, "settings": all}); err != nil {
			return err
		}
	} else {
		for i, name := range names {
			a.say("%s: %s", name, values[i])
		}
		for _, n := range notes {
			a.say("# note: %s", n)
		}
	}
	switch len(found) {
	case 0:
		return nil
	case 1:
		return exits(exitUsage, found[0])
	}
	lines := make([]string, 0, len(found))
	for _, p := range found {
		lines = append(lines, "  "+p.Error())
	}
	return exits(exitUsage, fmt.Errorf("%d things to put right:\n%s", len(found), strings.Join(lines, "\n")))
}

// settings are the settings as they are in force, as a file would state them; those that
// are not set are left out.
func (c *serveCmd) settings() (names, values []string) {
	v := reflect.ValueOf(*c)
	for _, field := range reflect.VisibleFields(v.Type()) {
		if field.Anonymous {
			continue
		}
		name, value := flagName(field), v.FieldByIndex(field.Index)
		if slices.Contains(notInFiles, name) || value.IsZero() && field.Tag.Get("default") == "" {
			continue
		}
		text := fmt.Sprint(value.Interface())
		if several, ok := value.Interface().([]string); ok {
			text = strings.Join(several, ",")
		}
		if address, err := url.Parse(text); name == "database" && err == nil {
			text = address.Redacted()
		}
		names, values = append(names, name), append(values, text)
	}
	return names, values
}

// flagName is the name of the flag that a field is for.
func flagName(field reflect.StructField) string {
	if name := field.Tag.Get("name"); name != "" {
		return name
	}
	var b strings.Builder
	for i, r := range field.Name {
		if i > 0 && r >= 'A' && r <= 'Z' && field.Name != "JSON" {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

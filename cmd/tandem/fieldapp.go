package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/tandem-response/tandem/client"
	fieldapp "github.com/tandem-response/tandem/client/app"
)

type deviceCmd struct {
	storeFlag

	Listen string `default:"127.0.0.1:0" placeholder:"ADDRESS" help:"Loopback address to serve on; the port is drawn unless named."`
	JSON   bool   `help:"Print each link as one line of JSON."`
}

func (deviceCmd) Help() string {
	return `The field app: serves pages to this machine from the device's store and keeps the device
in step with its server, signal or not. It prints a link, which is good once; when it was
used the next one is printed. A store in a vault is unlocked on the page, or with
--passphrase-file. Ctrl-C ends it; what was typed is kept.

  tandem device --store ~/car12`
}

func (c *deviceCmd) Run(a *app) (err error) {
	if _, err := os.Stat(c.Store); errors.Is(err, os.ErrNotExist) {
		return exits(exitUsage, fmt.Errorf("there is no store in %s: enrol one first with tandem enroll --store %s", c.Store, c.Store))
	}
	o := fieldapp.Options{Dir: c.Store, Client: client.Options{Logger: a.log, Timezone: localZone()}, Log: a.log, Link: a.link(c.JSON, "")}
	if c.PassphraseFile != "" {
		o.Client.Passphrase = c.ask(a)
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(a.ctx, "tcp", c.Listen)
	if err != nil {
		return err
	}
	field, err := fieldapp.New(a.ctx, o)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	return field.Serve(a.ctx, listener)
}

// link prints the links of a field app.
func (a *app) link(asJSON bool, whose string) func(string) {
	first := true
	return func(url string) {
		switch {
		case asJSON:
			_ = a.json(map[string]string{"link": url})
		case first:
			a.say("%sThe field app: %s", whose, url)
		default:
			a.say("%sThat link is used. For another window: %s", whose, url)
		}
		first = false
	}
}

// localZone is the IANA name of the machine's time zone, empty where it tells none.
func localZone() string {
	name := os.Getenv("TZ")
	if name == "" {
		// A link into the table of zones, on the systems that have one.
		target, _ := os.Readlink("/etc/localtime")
		_, name, _ = strings.Cut(target, "zoneinfo/")
	}
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		return ""
	}
	return name
}

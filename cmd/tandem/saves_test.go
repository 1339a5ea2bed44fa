package main

import (
	"context"
	"fmt"
	"os"

	"github.com/tandem-response/tandem/client"
	tandemv1 "github.com/tandem-response/tandem/gen/tandem/v1"
	"github.com/tandem-response/tandem/syncengine"
)

// saves is a device that saves without pause and says on its output what was
// acknowledged: "open", then for every save the record's id and how often it was
// edited. It ends when it is killed. With a second argument it syncs all the while.
func saves() {
	if err := saveOn(context.Background(), os.Args[1], len(os.Args) > 2); err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		os.Exit(exitFailed)
	}
}

func saveOn(ctx context.Context, dir string, syncing bool) error {
	dev, err := client.Open(ctx, dir, client.Options{Version: "test"})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "open")
	if syncing {
		go dev.Run(ctx) //nolint:errcheck // It ends with the process.
	}
	for i := 0; ; i++ {
		var id syncengine.ID
		_, err := dev.Edit(ctx, func(e *client.Edit) (err error) {
			id, err = e.Create(&tandemv1.Incident{
				CallType: new("welfare_check"), Number: new(fmt.Sprintf("K-%d-%d", os.Getpid(), i)), NotesOps: new(edits(0)),
			})
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, id, 0)
		for n := range i % 3 {
			if err := editOn(ctx, dev, id, n+1); err != nil {
				return err
			}
			fmt.Fprintln(os.Stdout, id, n+1)
		}
	}
}

// editOn writes into a call that it was edited n times.
func editOn(ctx context.Context, dev *client.Client, id syncengine.ID, n int) error {
	v, err := dev.Get(ctx, id)
	if err != nil {
		return err
	}
	in, ok := v.Message.(*tandemv1.Incident)
	if !ok {
		return fmt.Errorf("%s is no call", id)
	}
	in.NotesOps = new(edits(n))
	_, err = dev.Edit(ctx, func(e *client.Edit) error { return e.Set(v, in) })
	return err
}

// edits is how a call says how often it was edited.
func edits(n int) string { return fmt.Sprintf("edited %d times", n) }

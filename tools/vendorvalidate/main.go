// Command vendorvalidate prints buf/validate/validate.proto, the vocabulary of
// protovalidate's rules, as text. The Go packages that the product links carry
// it only as a descriptor, and buf needs the text to compile a contract that
// imports it.
//
// Run it from this directory when the version of protovalidate changes, with the
// same version in this module and in the product's:
//
//	go run . > ../../third_party/buf/validate/validate.proto
//	cd ../.. && buf format -w third_party
package main

import (
	"bufio"
	"fmt"
	"os"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
)

// notice heads the file: a descriptor carries no comments.
const notice = `// Copyright 2023-2026 Buf Technologies, Inc. Licensed under the Apache License,
// Version 2.0: http://www.apache.org/licenses/LICENSE-2.0
//
// Printed from the descriptor in buf.build/gen/go/bufbuild/protovalidate by
// tools/vendorvalidate. Do not edit.

`

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vendorvalidate:", err)
		os.Exit(1)
	}
}

// run prints the linked descriptor to standard output.
func run() error {
	out := bufio.NewWriter(os.Stdout)
	if _, err := out.WriteString(notice); err != nil {
		return fmt.Errorf("print the notice: %w", err)
	}
	printer := protoprint.Printer{}
	if err := printer.PrintProtoFile(validate.File_buf_validate_validate_proto, out); err != nil {
		return fmt.Errorf("print validate.proto: %w", err)
	}
	return out.Flush()
}

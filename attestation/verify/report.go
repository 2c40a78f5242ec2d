// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrFailed is matched by every [CheckError].
var ErrFailed = errors.New("verification failed")

// Name names a check, in JSON and for programs.
type Name string

// The checks, in the order of a Report.
const (
	Format    Name = "format"    // the document is a receipt, in its one spelling
	Run       Name = "run"       // the run and each of its steps succeeded
	Pipeline  Name = "pipeline"  // pipeline_hash is that of the file on disk
	Files     Name = "files"     // every input and output is on disk as recorded
	Signature Name = "signature" // signed by a believed key
)

// Status is what came of a check.
type Status string

// A check passed, failed, was skipped on request, or was not made because the
// document could not be read or checking came to an end before it.
const (
	Passed     Status = "passed"
	Failed     Status = "failed"
	Skipped    Status = "skipped"
	NotReached Status = "not-reached"
)

// Check is one thing that was looked at.
type Check struct {
	Name   Name   `json:"name"`
	Status Status `json:"status"`
	// Message is one line for people, without a mark in front: "Receipt format
	// valid", "Pipeline hash does not match", "Signature verification skipped".
	Message string `json:"message"`
	// Want and Got are set for a check that failed: what would have passed and
	// what was found. Both are empty where Differences say it.
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
	// Differences name the files that differ, ordered by path: the first 20.
	Differences []Difference `json:"differences,omitempty"`
	// More counts the differences that are not in Differences.
	More int `json:"more,omitempty"`
}

// Difference is one path that is not as recorded.
type Difference struct {
	Path string `json:"path"` // a folder's ends with a slash
	// Change is what happened to it: "changed", "added", "removed", "mode" or
	// "kind" (a link where a file was, and the like).
	Change string `json:"change"`
	Want   string `json:"want,omitempty"`
	Got    string `json:"got,omitempty"`
	// Step and Role ("input" or "output") say where the receipt names it.
	Step string `json:"step"`
	Role string `json:"role"`
}

// String returns one line: what happened to which path, and where it stands in
// the receipt. Control characters of names are escaped.
func (d Difference) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s (%s of %s)", d.Change, printable(d.Path), d.Role, printable(d.Step))
	if d.Want != "" || d.Got != "" {
		fmt.Fprintf(&b, ": want %s, got %s", d.Want, d.Got)
	}
	return b.String()
}

func printable(s string) string {
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// Details returns what a failed check has to say beyond its message, one line
// each: what was wanted and found, or the files that differ. None otherwise.
func (c Check) Details() []string {
	var lines []string
	if c.Want != "" {
		lines = append(lines, "want "+c.Want)
	}
	if c.Got != "" {
		lines = append(lines, "got  "+c.Got)
	}
	for _, d := range c.Differences {
		lines = append(lines, d.String())
	}
	if c.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", c.More))
	}
	return lines
}

// CheckError says that one check failed. It matches [ErrFailed].
type CheckError struct {
	Check Check
	Err   error // the cause, where there is one
}

// Error returns the check's message and details on one line.
func (e *CheckError) Error() string {
	return strings.ToLower(e.Check.Message[:1]) + e.Check.Message[1:] + ": " + strings.Join(e.Check.Details(), "; ")
}

// Is reports whether target is [ErrFailed].
func (e *CheckError) Is(target error) bool { return target == ErrFailed }

// Unwrap returns Err, so that receipt.ErrNewer and the like can be matched.
func (e *CheckError) Unwrap() error { return e.Err }

// Report is every check, in the order of their constants. Files are looked at
// even when the signature is wrong, so that one look shows all that is.
type Report struct {
	Checks []Check `json:"checks"`

	errs []error
}

func newReport() Report {
	var r Report
	for _, name := range []Name{Format, Run, Pipeline, Files, Signature} {
		r.Checks = append(r.Checks, Check{Name: name})
		r.set(name, NotReached)
	}
	return r
}

// failure is what a check found wrong.
type failure struct {
	want, got   string
	err         error
	differences []Difference
}

// maxDifferences bounds what one check lists.
const maxDifferences = 20

func (r *Report) set(name Name, status Status) *Check {
	for i := range r.Checks {
		if c := &r.Checks[i]; c.Name == name {
			c.Status, c.Message = status, message(name, status)
			return c
		}
	}
	return &Check{} // not reachable: newReport has every name
}

func (r *Report) pass(name Name) { r.set(name, Passed) }
func (r *Report) skip(name Name) { r.set(name, Skipped) }

func (r *Report) fail(name Name, f failure) {
	c := r.set(name, Failed)
	c.Want, c.Got = f.want, f.got
	c.Differences = f.differences[:min(len(f.differences), maxDifferences)]
	c.More = len(f.differences) - len(c.Differences)
	r.errs = append(r.errs, &CheckError{*c, f.err})
}

// note passes the check, or fails it with what was found wrong.
func (r *Report) note(name Name, f *failure) {
	if f == nil {
		r.pass(name)
		return
	}
	r.fail(name, *f)
}

func (r *Report) err() error { return errors.Join(r.errs...) }

func message(name Name, status Status) string {
	texts := map[Name][2]string{ // passed, failed
		Format:    {"Receipt format valid", "Receipt format invalid"},
		Run:       {"Run succeeded", "Run did not succeed"},
		Pipeline:  {"Pipeline hash matches", "Pipeline hash does not match"},
		Files:     {"All file hashes verified", "Files differ from the receipt"},
		Signature: {"Cryptographic signature valid", "Cryptographic signature invalid"},
	}
	subjects := map[Name]string{Format: "Receipt format", Run: "Run status", Pipeline: "Pipeline hash", Files: "File hashes", Signature: "Signature"}
	switch status {
	case Passed:
		return texts[name][0]
	case Failed:
		return texts[name][1]
	case Skipped:
		return subjects[name] + " verification skipped"
	default:
		return subjects[name] + " not checked"
	}
}

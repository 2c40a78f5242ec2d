// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/verify"
	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/executor"
)

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = errors.New("too large")
)

type verifyCmd struct {
	Receipt      string   `arg:"" help:"The receipt's file."`
	NoSignatures bool     `help:"Do not check who signed: only that files agree with the receipt."`
	Key          []string `placeholder:"FILE" sep:"none" help:"Believe this public key instead of the project's; can be repeated."`
	jsonFlag
}

// Help says what is checked.
func (verifyCmd) Help() string {
	return `The receipt must be signed by a key that you believe: the project's .attest/keys/public.key, or those given with --key. The key that stands in a receipt proves nothing by itself.

The pipeline's hash and every input and output are computed anew from the files of the working folder, the project. The exit code is 0 when every check passed and 4 when one failed.

Examples:

    attest verify .attest/receipts/receipt_20261201_143052.yaml
    attest verify --key release-team.pub receipt.yaml
    attest -C ~/src/project verify receipt.yaml --json`
}

// Run checks the receipt and prints a line for each check.
func (c *verifyCmd) Run(ctx context.Context, env *Env) error {
	data, err := readFile(env.path(c.Receipt))
	if err != nil {
		return fmt.Errorf("reading receipt: %w", err)
	}
	trusted, err := c.keys(env)
	if err != nil {
		return err
	}
	out := env.Stdout
	if env.json {
		out = io.Discard
	}
	result, err := verifyReceipt(ctx, out, data, verify.Options{
		Keys: trusted, Root: env.Dir, UnsafeSkipSignature: c.NoSignatures,
	})
	if result != nil {
		result.Receipt = c.Receipt
		env.result = result
	}
	return err
}

// keys returns the keys that are believed.
func (c *verifyCmd) keys(env *Env) ([]keys.Public, error) {
	if c.NoSignatures {
		if len(c.Key) > 0 {
			return nil, &usageError{err: errors.New("--key and --no-signatures exclude each other")}
		}
		return nil, nil
	}
	if len(c.Key) == 0 {
		key, _, err := projectPublic(env, "--key FILE believes the public key of who signed",
			"--no-signatures looks whether the files agree, whoever wrote the receipt")
		if err != nil {
			return nil, err
		}
		return []keys.Public{key}, nil
	}
	var all []keys.Public
	for _, file := range c.Key {
		key, err := loadPublic(env.path(file))
		if err != nil {
			return nil, err
		}
		all = append(all, key)
	}
	return all, nil
}

// verifyResult is what verification found, for --json.
type verifyResult struct {
	Receipt  string         `json:"receipt"`
	Verified bool           `json:"verified"`
	Signer   string         `json:"signer,omitempty"` // the believed key that signed
	Checks   []verify.Check `json:"checks"`
}

// unverifiedError says that a receipt is not to be believed.
type unverifiedError struct{ failed int }

func (e *unverifiedError) Error() string {
	return fmt.Sprintf("verification failed: %s did not pass", count(e.failed, "check"))
}

// verifyReceipt checks a receipt and writes what came of each check to out.
// The result is nil where checking was not possible.
func verifyReceipt(ctx context.Context, out io.Writer, data []byte, o verify.Options) (*verifyResult, error) {
	verifier, err := verify.New(o)
	if err != nil {
		return nil, &executor.HintedError{Err: keyError{err}, Hints: []string{"--key FILE names a key to believe"}}
	}
	proof, report, err := verifier.Verify(ctx, data)
	if err != nil && !errors.Is(err, verify.ErrFailed) {
		return nil, err
	}
	result := &verifyResult{Verified: proof != nil, Checks: report.Checks}
	if proof != nil {
		if key, ok := proof.Signer(); ok {
			result.Signer = key.String()
		}
	}
	failed := 0
	for _, check := range report.Checks {
		if check.Status == verify.Failed {
			failed++
		}
		if _, err := io.WriteString(out, checkLines(check)); err != nil {
			return result, err
		}
	}
	if proof == nil {
		return result, &unverifiedError{failed}
	}
	return result, nil
}

// checkLines is what is printed of a check. That the run succeeded goes
// without saying when it did.
func checkLines(c verify.Check) string {
	switch c.Status {
	case verify.Passed:
		if c.Name == verify.Run {
			return ""
		}
		return "[OK] " + c.Message + "\n"
	case verify.Failed:
		return "[FAIL] " + display.Message(c.Message) + "\n" + details(c)
	case verify.Skipped:
		return c.Message + "\n"
	default:
		return "[SKIP] " + c.Message + "\n"
	}
}

// details says what was wanted and what was found.
func details(c verify.Check) string {
	var b strings.Builder
	both := func(indent, want, got string) {
		if want != "" {
			fmt.Fprintf(&b, "%swant: %s\n", indent, display.Message(want))
		}
		if got != "" {
			fmt.Fprintf(&b, "%sgot:  %s\n", indent, display.Message(got))
		}
	}
	both("       ", c.Want, c.Got)
	for _, d := range c.Differences {
		fmt.Fprintf(&b, "       %s: %s", source.Name(d.Path), d.Change)
		if d.Role != "" {
			fmt.Fprintf(&b, " (%s of %s)", d.Role, display.Message(d.Step))
		}
		b.WriteString("\n")
		both("         ", d.Want, d.Got)
	}
	if c.More > 0 {
		fmt.Fprintf(&b, "       and %d more\n", c.More)
	}
	return b.String()
}

// SPDX-License-Identifier: Apache-2.0

package executor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// TestRefuseBeyond asks for one ability at a time, of an executor that has all
// others and of one that has it.
func TestRefuseBeyond(t *testing.T) {
	jobs := map[executor.Ability]executor.Job{
		executor.AbilityNoNetwork:     {Network: pipeline.NetworkNone},
		executor.AbilityRecorded:      {Network: pipeline.NetworkRecorded},
		executor.AbilityOpen:          {Network: pipeline.NetworkOpen},
		executor.AbilityLimits:        {Limits: pipeline.Limits{PIDs: 1}},
		executor.AbilitySecrets:       {Secrets: []executor.Secret{{Name: "A"}}},
		executor.AbilityCaches:        {Caches: []executor.CacheFolder{{Name: "a"}}},
		executor.AbilityStrict:        {Strict: true},
		executor.AbilityTrace:         {Trace: true},
		executor.AbilityDeterministic: {Deterministic: &executor.Determinism{}},
		executor.AbilityVariation:     {Variation: &executor.Variation{}},
	}
	for a, job := range jobs {
		var others []executor.Ability
		for b := range jobs {
			if b != a {
				others = append(others, b)
			}
		}
		err := job.RefuseBeyond(pipeline.VM, others...)
		var hinted *executor.HintedError
		if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) || !strings.Contains(err.Error(), string(a)) {
			t.Errorf("%s: got %v", a, err)
		}
		if err := job.RefuseBeyond(pipeline.VM, a); err != nil {
			t.Errorf("%s: refused though it is there: %v", a, err)
		}
	}
	if err := (executor.Job{Network: pipeline.NetworkHost}).RefuseBeyond(pipeline.Process); err != nil {
		t.Errorf("a plain job is refused: %v", err)
	}
}

// TestSecretsDoNotPrint prints a job in every way that a program does by mistake.
func TestSecretsDoNotPrint(t *testing.T) {
	const value = "hunter2"
	job := executor.Job{Secrets: []executor.Secret{{Name: "A", Value: executor.NewSecretValue([]byte(value))}}}
	private := struct{ job *executor.Job }{&job}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x", job, job, job, job.Secrets[0].Value, job.Secrets[0].Value, job.Secrets)
	fmt.Fprintf(&out, "%v %+v %#v", private, *private.job, struct{ s []executor.Secret }{job.Secrets})
	text, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "job", job, "value", job.Secrets[0].Value)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "job", job, "value", job.Secrets[0].Value)
	for _, form := range []string{value, fmt.Sprintf("%x", value), fmt.Sprint([]byte(value)), "aHVudGVyMg"} {
		if strings.Contains(out.String(), form) {
			t.Errorf("the secret stands there as %q:\n%s", form, out.String())
		}
	}
	if string(job.Secrets[0].Value.Reveal()) != value {
		t.Error("the secret is lost")
	}
}

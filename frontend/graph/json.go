// SPDX-License-Identifier: Apache-2.0

package graph

import (
	"bytes"
	"encoding/json"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
)

// The types below are the document of JSON. Fields may be added; none changes
// its meaning.
type jsonPlan struct {
	Name         string       `json:"name"`
	Description  string       `json:"description,omitempty"`
	File         string       `json:"file"`
	PipelineHash string       `json:"pipeline_hash"`
	Steps        []jsonStep   `json:"steps"`
	Analysis     jsonAnalysis `json:"analysis"`
}

type jsonStep struct {
	Name         string            `json:"name"`
	Line         int               `json:"line"`
	Command      string            `json:"command"`
	Type         string            `json:"type,omitempty"`
	Isolation    string            `json:"isolation"`
	Network      string            `json:"network"`
	Image        string            `json:"image,omitempty"`
	WorkingDir   string            `json:"working_dir"`
	Inputs       []string          `json:"inputs"` // null: the whole project
	Outputs      []string          `json:"outputs"`
	Needs        []string          `json:"needs"`
	Env          map[string]string `json:"env"`
	PassEnv      []string          `json:"pass_env"`
	Cache        bool              `json:"cache"`
	TimeoutSecs  float64           `json:"timeout_secs,omitempty"`
	Limits       *jsonLimits       `json:"limits,omitempty"`
	NetworkAllow []string          `json:"network_allow,omitempty"`
	Secrets      []string          `json:"secrets,omitempty"`
	Caches       map[string]string `json:"caches,omitempty"`
	Reproducible bool              `json:"reproducible,omitempty"`
	Depth        int               `json:"depth"`
	Critical     bool              `json:"critical"`
}

type jsonLimits struct {
	Memory   int64 `json:"memory,omitempty"`
	CPUs     int   `json:"cpus,omitempty"`
	PIDs     int   `json:"pids,omitempty"`
	FileSize int64 `json:"file_size,omitempty"`
}

type jsonAnalysis struct {
	Depth            int              `json:"depth"`
	Width            int              `json:"width"`
	ParallelGroups   [][]string       `json:"parallel_groups"`
	CriticalPath     []string         `json:"critical_path"`
	CriticalPathSecs float64          `json:"critical_path_secs"`
	Measured         bool             `json:"measured"`
	Bottlenecks      []jsonBottleneck `json:"bottlenecks"`
}

type jsonBottleneck struct {
	Step   string `json:"step"`
	Blocks int    `json:"blocks"`
}

// JSON returns the plan as one object, indented. SPEC.md of frontend/pipeline
// documents it.
func JSON(p *plan.Plan, a plan.Analysis) []byte {
	doc := jsonPlan{
		Name:         p.Pipeline.Name,
		Description:  p.Pipeline.Description,
		PipelineHash: p.Pipeline.Digest.String(),
		Steps:        make([]jsonStep, len(p.Steps)),
		Analysis: jsonAnalysis{
			Depth:            a.Depth,
			Width:            a.Width,
			ParallelGroups:   make([][]string, len(a.Levels)),
			CriticalPath:     names(p, a.CriticalPath),
			CriticalPathSecs: a.CriticalTime.Seconds(),
			Measured:         a.Measured,
			Bottlenecks:      make([]jsonBottleneck, len(a.Bottlenecks)),
		},
	}
	if p.Pipeline.File != nil {
		doc.File = p.Pipeline.File.Name
	}
	m := critical(a)
	for i, s := range p.Steps {
		doc.Steps[i] = stepOf(p, s, m.steps[i])
	}
	for d, steps := range a.Levels {
		doc.Analysis.ParallelGroups[d] = names(p, steps)
	}
	for k, n := range a.Bottlenecks {
		doc.Analysis.Bottlenecks[k] = jsonBottleneck{p.Steps[n.Step].Name, n.Blocks}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(doc) // strings, numbers and maps of strings always encode
	return b.Bytes()
}

func stepOf(p *plan.Plan, s plan.Step, isCritical bool) jsonStep {
	out := jsonStep{
		Name:        s.Name,
		Line:        s.Pos.Line,
		Command:     s.Run.String(),
		Type:        s.Attestation.Type,
		Isolation:   string(s.Isolation),
		Network:     string(s.Network),
		Image:       s.Image,
		WorkingDir:  s.WorkingDir,
		Outputs:     patterns(s.Outputs),
		Needs:       names(p, s.Needs),
		Env:         make(map[string]string, len(s.Env)),
		PassEnv:     append([]string{}, s.PassEnv...),
		Cache:       s.Cache,
		TimeoutSecs: s.Timeout.Seconds(),
		Depth:       s.Depth,
		Critical:    isCritical,

		NetworkAllow: s.NetworkAllow,
		Reproducible: s.Attestation.Reproducible,
	}
	if limits := jsonLimits(s.Limits); limits != (jsonLimits{}) {
		out.Limits = &limits
	}
	for _, x := range s.Secrets {
		out.Secrets = append(out.Secrets, x.Name)
	}
	for _, c := range s.Caches {
		if out.Caches == nil {
			out.Caches = map[string]string{}
		}
		out.Caches[c.Name] = c.Path
	}
	if !s.AllInputs {
		out.Inputs = patterns(s.Inputs)
	}
	for _, v := range s.Env {
		out.Env[v.Name] = v.Value
	}
	return out
}

func patterns(list []pipeline.Pattern) []string {
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = p.String()
	}
	return texts
}

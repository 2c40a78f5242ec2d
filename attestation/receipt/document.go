// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"reflect"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// document is the receipt as it is written: FORMAT.md's table of fields as Go
// types. The YAML writer, the YAML reader and the signed JSON all follow it, so
// that they cannot disagree. The tag `yaml:"word"` is for strings that are
// written without quotes where they can be, "block" and "rows" say how a list of
// maps is laid out, "map" that a map has a line for each key; everything else is
// written on its key's own line.
type document struct {
	Schema       string         `json:"schema" yaml:"word"`
	PipelineHash string         `json:"pipeline_hash"`
	Timestamp    string         `json:"timestamp"`
	Duration     seconds        `json:"total_duration_secs"`
	Version      string         `json:"attest_version"`
	Status       string         `json:"status" yaml:"word"`
	Pipeline     pipelineDoc    `json:"pipeline"`
	Source       *sourceDoc     `json:"source,omitempty"`
	Environment  environmentDoc `json:"environment"`
	Steps        []stepDoc      `json:"steps" yaml:"block"`
	Signature    string         `json:"signature,omitempty"`
	Signer       string         `json:"signer_public_key,omitempty"`
}

type pipelineDoc struct {
	Name string `json:"name" yaml:"word"`
	File string `json:"file" yaml:"word"`
}

type sourceDoc struct {
	Commit string `json:"commit,omitempty"`
	Dirty  bool   `json:"dirty"`
}

type environmentDoc struct {
	OS     string `json:"os" yaml:"word"`
	Arch   string `json:"arch" yaml:"word"`
	Engine string `json:"engine,omitempty"`
}

type stepDoc struct {
	Name         string            `json:"name"`
	Command      string            `json:"command"`
	Type         string            `json:"type,omitempty" yaml:"word"`
	Status       string            `json:"status" yaml:"word"`
	ExitCode     int               `json:"exit_code"`
	Error        string            `json:"error,omitempty"`
	Duration     seconds           `json:"duration_secs"`
	Cache        string            `json:"cache" yaml:"word"`
	Key          string            `json:"key,omitempty"`
	Isolation    string            `json:"isolation" yaml:"word"`
	Network      string            `json:"network,omitempty" yaml:"word"`
	Controls     []string          `json:"controls,omitempty" yaml:"word"`
	Caches       []string          `json:"caches,omitempty" yaml:"word"`
	Secrets      []string          `json:"secrets,omitempty" yaml:"word"`
	Fetched      []fetchDoc        `json:"fetched,omitempty" yaml:"rows"`
	Unfetched    []string          `json:"unfetched,omitempty" yaml:"word"`
	Read         []fileDoc         `json:"read,omitempty" yaml:"rows"`
	Programs     []fileDoc         `json:"programs,omitempty" yaml:"rows"`
	Missing      []string          `json:"missing,omitempty" yaml:"word"`
	NoPrograms   []string          `json:"missing_programs,omitempty" yaml:"word"`
	Unread       []string          `json:"unread,omitempty" yaml:"word"`
	Unexpected   []string          `json:"unexpected,omitempty" yaml:"word"`
	Modified     []string          `json:"modified,omitempty" yaml:"word"`
	Reproduction *reproductionDoc  `json:"reproduction,omitempty" yaml:"map"`
	Image        string            `json:"image,omitempty"`
	Env          map[string]string `json:"env,omitempty" yaml:"word"`
	PassEnv      []string          `json:"pass_env,omitempty" yaml:"word"`
	Needs        []string          `json:"needs,omitempty" yaml:"word"`
	Inputs       []pathDoc         `json:"inputs,omitempty" yaml:"rows"`
	Outputs      []pathDoc         `json:"outputs,omitempty" yaml:"rows"`
	Log          string            `json:"log,omitempty"`
}

type fetchDoc struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
}

type fileDoc struct {
	Path string `json:"path"`
	Hash string `json:"hash"`
}

type reproductionDoc struct {
	Verdict     string          `json:"verdict" yaml:"word"`
	Varied      []string        `json:"varied,omitempty" yaml:"word"`
	Differences []differenceDoc `json:"differences,omitempty" yaml:"rows"`
}

type differenceDoc struct {
	Path   string `json:"path"`
	Inside string `json:"inside,omitempty"`
	Offset offset `json:"offset,omitempty"`
	Cause  string `json:"cause" yaml:"word"`
}

// offset is a number that may be larger than an int of every machine.
type offset uint64

type pathDoc struct {
	Path   string `json:"path"`
	Mode   string `json:"mode,omitempty"`
	Hash   string `json:"hash"`
	SHA256 string `json:"sha256,omitempty"`
}

// fieldInfo is what the tags of a document's field say.
type fieldInfo struct {
	key      string
	optional bool
	style    string
}

// layouts keeps what was read from tags, for as long as one document takes.
type layouts map[reflect.Type][]fieldInfo

func (l layouts) of(t reflect.Type) []fieldInfo {
	if fields, ok := l[t]; ok {
		return fields
	}
	fields := make([]fieldInfo, t.NumField())
	for i := range fields {
		key, option, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		fields[i] = fieldInfo{key, option == "omitempty", t.Field(i).Tag.Get("yaml")}
	}
	l[t] = fields
	return fields
}

const timeFormat = "2006-01-02T15:04:05Z"

func documentOf(r *Receipt) *document {
	d := &document{
		Schema:       r.Schema,
		PipelineHash: r.PipelineHash.String(),
		Timestamp:    r.Timestamp.UTC().Format(timeFormat),
		Duration:     secondsOf(r.Duration),
		Version:      r.Version,
		Status:       string(r.Status),
		Pipeline:     pipelineDoc(r.Pipeline),
		Source:       (*sourceDoc)(r.Source),
		Environment:  environmentDoc(r.Environment),
		Steps:        make([]stepDoc, len(r.Steps)),
		Signature:    r.Signature,
		Signer:       r.SignerPublicKey,
	}
	for i := range r.Steps {
		d.Steps[i] = stepOf(&r.Steps[i])
	}
	return d
}

func stepOf(s *Step) stepDoc {
	return stepDoc{
		Name: s.Name, Command: s.Command, Type: s.Type, Status: string(s.Status),
		ExitCode: s.ExitCode, Error: s.Error, Duration: secondsOf(s.Duration),
		Cache: string(s.Cache), Key: s.Key.String(), Isolation: s.Isolation,
		Network: s.Network, Controls: s.Controls, Image: s.Image, Env: s.Env,
		Caches: s.Caches, Secrets: s.Secrets, Fetched: fetchesOf(s.Fetched), Unfetched: s.Unfetched,
		Read: filesOf(s.Read), Programs: filesOf(s.Programs),
		Missing: s.Missing, NoPrograms: s.MissingPrograms, Unread: s.Unread,
		Unexpected: s.Unexpected, Modified: s.Modified, Reproduction: reproductionOf(s.Reproduction),
		PassEnv: s.PassEnv, Needs: s.Needs,
		Inputs: pathsOf(s.Inputs), Outputs: pathsOf(s.Outputs), Log: s.Log.String(),
	}
}

func pathsOf(paths []Path) []pathDoc {
	docs := make([]pathDoc, len(paths))
	for i, p := range paths {
		docs[i] = pathDoc{Path: p.Path, Mode: p.Mode, Hash: p.Hash.String(), SHA256: p.SHA256.Hex()}
	}
	return docs
}

// receipt is the way back. It reports what the document's strings cannot be
// read as; [check] judges the rest.
func (d *document) receipt() (*Receipt, error) {
	var c converter
	r := &Receipt{
		Schema:          d.Schema,
		PipelineHash:    c.digest(d.PipelineHash),
		Timestamp:       c.time(d.Timestamp),
		Duration:        d.Duration.duration(),
		Version:         d.Version,
		Status:          Status(d.Status),
		Pipeline:        Pipeline(d.Pipeline),
		Source:          (*Source)(d.Source),
		Environment:     Environment(d.Environment),
		Steps:           make([]Step, len(d.Steps)),
		Signature:       d.Signature,
		SignerPublicKey: d.Signer,
	}
	for i := range d.Steps {
		s := &d.Steps[i]
		r.Steps[i] = Step{
			Name: s.Name, Command: s.Command, Type: s.Type, Status: Status(s.Status),
			ExitCode: s.ExitCode, Error: s.Error, Duration: s.Duration.duration(),
			Cache: CacheUse(s.Cache), Key: c.digest(s.Key), Isolation: s.Isolation,
			Network: s.Network, Controls: s.Controls, Image: s.Image, Env: s.Env,
			Caches: s.Caches, Secrets: s.Secrets, Fetched: c.fetches(s.Fetched), Unfetched: s.Unfetched,
			Read: c.files(s.Read), Programs: c.files(s.Programs),
			Missing: s.Missing, MissingPrograms: s.NoPrograms, Unread: s.Unread,
			Unexpected: s.Unexpected, Modified: s.Modified, Reproduction: s.Reproduction.reproduction(),
			PassEnv: s.PassEnv, Needs: s.Needs,
			Inputs: c.paths(s.Inputs), Outputs: c.paths(s.Outputs), Log: c.digest(s.Log),
		}
	}
	return r, c.err
}

// converter keeps the first error, so that the document above reads as a list.
type converter struct{ err error }

func (c *converter) digest(s string) digest.Digest {
	var d digest.Digest
	c.note(d.UnmarshalText([]byte(s)))
	return d
}

func (c *converter) time(s string) time.Time {
	t, err := time.Parse(timeFormat, s)
	c.note(err)
	return t
}

func (c *converter) paths(docs []pathDoc) []Path {
	if len(docs) == 0 {
		return nil
	}
	paths := make([]Path, len(docs))
	for i, d := range docs {
		paths[i] = Path{Path: d.Path, Mode: d.Mode, Hash: c.digest(d.Hash)}
		if d.SHA256 != "" {
			paths[i].SHA256 = c.digest("sha256:" + d.SHA256)
		}
	}
	return paths
}

func (c *converter) note(err error) {
	if c.err == nil {
		c.err = err
	}
}

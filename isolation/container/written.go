// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// maxReport is more than the report of any build has.
const maxReport = 256 << 20

// written reads the engine's report of what a step wrote in its workspace, and
// fills in what of it the step did not declare. A folder that is new and in
// which nothing is declared stands for what is in it.
func written(report []byte, outputs []pipeline.Pattern, o *executor.Outcome) error {
	declared, err := plan.NewDeclared(outputs)
	if err != nil {
		return err
	}
	var added []string
	folders := map[string]bool{} // that are new: whether something in them is declared
	modified := map[string]bool{}
	for len(report) > 0 {
		entry, rest, ok := bytes.Cut(report, []byte{0})
		if !ok || len(entry) < 2 {
			return errors.New("reading what the step wrote: the engine's report is cut off")
		}
		report = rest
		how, name := entry[0], string(entry[1:])
		isDir := how == launch.AddedFolder
		if isDir && !folders[name] {
			folders[name] = false
		}
		switch {
		case declared.Has(name, isDir):
			for p := name; p != "."; p = path.Dir(p) {
				folders[p] = true
			}
		case how == launch.Added, isDir:
			added = append(added, name)
		case how == launch.Changed, how == launch.Removed:
			modified[name] = true
		default:
			return fmt.Errorf("reading what the step wrote: unknown change %q", how)
		}
	}
	o.Unexpected = fold(added, folders)
	o.Modified = slices.Sorted(maps.Keys(modified))
	return nil
}

// fold names the uppermost folder that stands for each path.
func fold(added []string, folders map[string]bool) []string {
	all := map[string]bool{}
	for _, name := range added {
		top := name
		if used, isFolder := folders[name]; isFolder {
			if used {
				continue // it is there for what is declared
			}
		}
		for p := path.Dir(name); p != "."; p = path.Dir(p) {
			if used, isNew := folders[p]; isNew && !used {
				top = p
			}
		}
		all[top] = true
	}
	return slices.Sorted(maps.Keys(all))
}

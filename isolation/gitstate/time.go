// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// CommitTime returns when the commit was made that the files of the repository
// are of, zero where there is no repository or no commit yet.
func CommitTime(ctx context.Context, o Options) (time.Time, error) {
	q := &Query{options: o, top: repository(o.Dir)}
	if q.top == "" {
		return time.Time{}, nil
	}
	var err error
	if q.git, err = exec.LookPath("git"); err != nil {
		return time.Time{}, errors.New("there is a git repository, but no git")
	}
	// git log would heed settings of the user's, and fail before the first commit.
	out, err := q.run(ctx, o.Dir, "rev-list", "--max-count=1", "--timestamp", "--ignore-missing", "HEAD")
	if err != nil || len(out) == 0 {
		return time.Time{}, err
	}
	text, _, _ := strings.Cut(string(out), " ")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("git answered %q for the time of a commit", out)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

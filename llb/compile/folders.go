// SPDX-License-Identifier: Apache-2.0

package compile

import "github.com/moby/buildkit/client/llb"

// Folders that a step may write to besides its workspace. What it leaves there
// is gone when it ends.
const (
	tempDir = "/tmp"
	homeDir = "/root"
)

// folders mounts them over the image, which is read-only. HOME begins with what
// the image has there.
//
// They are on disk and not in memory: compilers fill them. What they begin with
// depends on the image alone, by digest, so that BuildKit may keep it.
func (s Step) folders(root llb.State) []llb.RunOption {
	group := llb.ProgressGroup("step:"+s.Name, s.Name, false)
	empty := llb.Scratch().File(llb.Mkdir("/empty", 0o755, llb.WithCreatedTime(epoch)), group)
	sticky := &llb.ChmodOpt{Mode: 0o1777} // as the kernel writes it, not as package os does
	begin := llb.Scratch().File(llb.
		Copy(empty, "/empty", tempDir, &llb.CopyInfo{Mode: sticky, CreatedTime: &epoch}).
		// A pattern, because an image need not have the folder.
		Mkdir(homeDir, 0o700, llb.WithCreatedTime(epoch)).
		Copy(root, "/roo[t]", homeDir, &llb.CopyInfo{
			CopyDirContentsOnly: true, AllowWildcard: true, AllowEmptyWildcard: true,
		}), group, llb.WithCustomName(s.partName("folders")))
	return []llb.RunOption{
		llb.AddMount(tempDir, begin, llb.SourcePath(tempDir), llb.ForceNoOutput, noContentKey),
		llb.AddMount(homeDir, begin, llb.SourcePath(homeDir), llb.ForceNoOutput, noContentKey),
	}
}

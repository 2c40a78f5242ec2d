// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// networkModes are the words that network takes.
var networkModes = []string{string(NetworkNone), string(NetworkRecorded), string(NetworkOpen)}

// network is the value of the key of that name in its long form.
type network struct {
	mode     string
	allow    []string
	hasAllow bool
	at       field // allow
}

var networkKeys = []key[network]{
	{"mode", func(p *parser, f field, n *network) { n.mode, _ = p.choice(f, networkModes) }},
	{"allow", readAllow},
}

// readNetwork reads both forms: a word, and a mapping with the hosts that a
// recorded network may reach.
func readNetwork(p *parser, f field, d *draft) {
	d.NetworkPos = p.at(f.value)
	if f.value.Kind != yaml.MappingNode {
		d.network, _ = p.choice(f, networkModes)
		return
	}
	var n network
	before := len(p.problems)
	readMapping(p, f, "network", networkKeys, &n)
	switch {
	case len(p.problems) > before:
	case n.mode == "":
		p.report(p.at(f.value), "network has no mode", "write for instance network: {mode: recorded, allow: [example.org]}")
	case n.hasAllow && n.mode != string(NetworkRecorded):
		p.report(n.at.pos, "allow has no effect with mode: "+n.mode, "only mode: recorded knows which host a step talks to")
	default:
		d.network, d.NetworkAllow = n.mode, n.allow
	}
}

func readAllow(p *parser, f field, n *network) {
	n.hasAllow, n.at = true, f
	items, ok := p.items(f, "host in allow")
	if ok && len(items) == 0 {
		p.report(p.at(f.value), "allow is empty", "name the hosts that the step may reach, or write network: none")
	}
	for _, item := range items {
		name, ok := p.text(item)
		host := strings.ToLower(name)
		switch {
		case !ok:
		case !isHost(strings.TrimPrefix(host, "*.")):
			p.report(item.pos, show(name)+" is not the name of a host", `write "example.org", or "*.example.org" for all below it, without scheme, port and path`)
		case slices.Contains(n.allow, host):
			p.report(item.pos, "allow names "+show(host)+" twice")
		default:
			n.allow = append(n.allow, host)
		}
	}
	slices.Sort(n.allow)
}

// isHost reports whether s is a name of DNS, or an address of four numbers.
func isHost(s string) bool {
	const most, mostLabel = 253, 63
	if s == "" || len(s) > most {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > mostLabel || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' }) {
			return false
		}
	}
	return true
}

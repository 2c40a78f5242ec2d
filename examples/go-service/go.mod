module example.org/links

go 1.26

require (
	github.com/go-chi/chi/v5 v5.3.0
	go.yaml.in/yaml/v4 v4.0.0
)

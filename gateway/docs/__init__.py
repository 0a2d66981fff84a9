"""/docs: what a caller reads. Prose of ours, and the reference that Swagger UI draws from /openapi.json.

pages/      the prose, one file a page, inside frame.html; `$name` is filled in by pages.py
snippets/   programs that the pages show; tests take them out of the pages and run them
static/     our style, icon, and the script that starts Swagger UI
assets.py   the files a page loads: those of static/, and Swagger UI's out of its package

Nothing here describes a call: /openapi.json does. Why so: docs/decisions/0013-the-reference-is-swagger-ui.md.
"""

"""Pure decisions about sequences over steps: who prefills, who decodes, whose cache is kept."""

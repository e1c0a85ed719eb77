"""The report: tables on the terminal, files for DVC, and the page `reports/index.html`."""

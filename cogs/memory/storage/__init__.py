"""Every line of SQL: tables, migrations, rows, keyword index, erasing. Must not import models or torch."""

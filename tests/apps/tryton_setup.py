"""Once per database: Tryton's currency, countries, the company whose books it keeps, and Accord's own user.

Runs in Tryton's environment. Arguments: the configuration file and the name of the database.
"""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal

from proteus import Model, Wizard, config  # type: ignore[import-not-found]

COUNTRIES = [("DE", "DEU", "276", "Germany"), ("FR", "FRA", "250", "France"), ("US", "USA", "840", "United States")]


def main() -> None:
    config.set_trytond(sys.argv[2], user="admin", config_file=sys.argv[1])
    config.get_config().set_context(Model.get("res.user").get_preferences(True, {}))
    euro = Model.get("currency.currency")(name="Euro", symbol="€", code="EUR", numeric_code="978")
    euro.rates.new(date=dt.date(2020, 1, 1), rate=Decimal(1))
    euro.save()
    for code, code3, number, name in COUNTRIES:
        Model.get("country.country")(name=name, code=code, code3=code3, code_numeric=number).save()
    company = Model.get("party.party")(name="Our Company GmbH")
    company.save()
    wizard = Wizard("company.company.config")
    wizard.execute("company")
    wizard.form.party, wizard.form.currency = company, euro
    wizard.execute("add")
    Model.get("res.user")(name="Accord", login="accord", email="accord@example.com").save()  # whose writes these are


if __name__ == "__main__":
    main()

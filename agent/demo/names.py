"""Words that the demo's companies, products and people are made of."""

from __future__ import annotations

STEMS = (
    "Alder", "Amber", "Anchor", "Argon", "Aspen", "Atlas", "Aurora", "Baltic", "Basalt", "Beacon", "Birch", "Borealis",
    "Cedar", "Cobalt", "Compass", "Coral", "Cypress", "Danube", "Delta", "Elbe", "Ember", "Falcon", "Fjord", "Garnet",
    "Granite", "Harbor", "Hazel", "Heron", "Indigo", "Iris", "Jasper", "Juniper", "Kestrel", "Lagoon", "Larch", "Lumen",
    "Magnolia", "Maple", "Meridian", "Mistral", "Nimbus", "Nordic", "Oak", "Onyx", "Opal", "Orchid", "Osprey", "Pebble",
    "Pine", "Quartz", "Raven", "Rhône", "Sable", "Saffron", "Sierra", "Solstice", "Tagus", "Teal", "Thistle", "Topaz",
    "Umber", "Velvet", "Vista", "Willow", "Zephyr", "Łabędź", "Müller", "Søndergaard", "Núñez", "Škoda & Sons",
)  # fmt: skip
TRADES = (
    "Bakery", "Bicycles", "Books", "Brewery", "Ceramics", "Cleaning", "Clinic", "Coffee", "Components", "Consulting",
    "Controls", "Dairy", "Dental", "Design", "Electric", "Fabrics", "Farms", "Films", "Fittings", "Flooring", "Foods",
    "Freight", "Furniture", "Gardens", "Glass", "Hotels", "Instruments", "Kitchens", "Lighting", "Logistics",
    "Machinery", "Marine", "Metals", "Optics", "Packaging", "Paper", "Pharma", "Plastics", "Printing", "Robotics",
    "Roofing", "Shipping", "Solar", "Studios", "Textiles", "Tiles", "Timber", "Tools", "Toys", "Travel",
)  # fmt: skip
CITIES = (  # city, form of the company there, country code of its VAT number, dialling prefix, e-mail ending
    ("Berlin", "GmbH", "DE", "+49 30", "de.example"),
    ("Hamburg", "GmbH", "DE", "+49 40", "de.example"),
    ("Lisboa", "Lda", "PT", "+351 21", "pt.example"),
    ("Porto", "Lda", "PT", "+351 22", "pt.example"),
    ("Lyon", "SARL", "FR", "+33 4", "fr.example"),
    ("Madrid", "SL", "ES", "+34 91", "es.example"),
    ("København", "ApS", "DK", "+45 33", "dk.example"),
    ("Kraków", "Sp. z o.o.", "PL", "+48 12", "pl.example"),
    ("Dublin", "Ltd", "IE", "+353 1", "ie.example"),
    ("Milano", "Srl", "IT", "+39 02", "it.example"),
)
ADJECTIVES = (
    "Compact",
    "Heavy-duty",
    "Quiet",
    "Standard",
    "Slim",
    "Outdoor",
    "Folding",
    "Insulated",
    "Precision",
    "Eco",
)
GOODS = (
    "bracket", "cable", "clamp", "cabinet", "bearing", "desk lamp", "fan", "filter", "gasket", "hinge", "hose", "lock",
    "motor", "pump", "pulley", "ladder", "sensor", "shelf", "switch", "toolbox", "trolley", "valve", "workbench",
)  # fmt: skip
CRM_PEOPLE = ("Maria", "Jonas", "Priya")
ERP_PEOPLE = ("Tom", "Aiko", "Luis")

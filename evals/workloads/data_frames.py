"""Tables of pandas through every usual format and a database, joined and summed up."""

import pandas as pd
import sqlalchemy

orders = pd.DataFrame({"order": range(5000), "customer": [n % 97 for n in range(5000)], "amount": range(5000)})
customers = pd.DataFrame({"customer": range(97), "name": [f"customer {n}" for n in range(97)]})
orders.to_csv("orders.csv", index=False)
orders.to_parquet("orders.parquet")
orders.to_json("orders.json", orient="records", lines=True)
orders.head(200).to_excel("orders.xlsx", index=False)
orders.to_pickle("orders.pkl")
frames = [
    pd.read_csv("orders.csv"),
    pd.read_parquet("orders.parquet"),
    pd.read_json("orders.json", lines=True),
    pd.read_excel("orders.xlsx"),
    pd.read_pickle("orders.pkl"),
]
engine = sqlalchemy.create_engine("sqlite:///orders.db")
pd.concat(frames).to_sql("orders", engine, index=False)
merged = pd.read_sql("SELECT * FROM orders WHERE amount > 10", engine).merge(customers)
print(merged.groupby("name").amount.agg(["sum", "mean"]).nlargest(3, "sum"))
print(merged.query("customer == 7").eval("twice = amount * 2").twice.sum())

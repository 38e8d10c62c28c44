"""A small shop that keeps answering while the services behind it fail.

    python ../example_fastapi/downstream.py     # in one terminal: inventory, recommendations and payments
    python manage.py migrate                    # in another: the admin's users, in db.sqlite3
    python manage.py createsuperuser
    DEBUG=1 python manage.py runserver          # or: gunicorn teashop.wsgi, uvicorn teashop.asgi:application
    curl -i http://127.0.0.1:8000/products/7
    curl -X PUT http://127.0.0.1:9100/inventory/hang

Workers share their circuits where RECLOSER_STORE (or "STORE" in the settings) says so:

    RECLOSER_STORE=sqlite gunicorn --workers 2 teashop.wsgi

What recloser needs stands in `settings.py`: an app, a middleware, and `RECLOSER`. The client's transport
(`services.py`) counts what each service does.
"""

"""The addresses."""

from django.urls import path

from . import views

urlpatterns = [path("orders", views.orders), path("orders/<int:number>", views.order)]
